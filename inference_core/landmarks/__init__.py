# SPDX-License-Identifier: GPL-3.0-or-later
"""The networks that find and read hands and bodies in pictures, MediaPipe's and our own, many crops at once."""
