# SPDX-License-Identifier: GPL-3.0-or-later
"""Operators: properties -> one record -> one call of a plain function -> a report."""
