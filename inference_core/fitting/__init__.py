# SPDX-License-Identifier: GPL-3.0-or-later
"""The shot solve: `shot.solve_shot` with `settings.SolveSettings` gives a `solution.ShotSolution`."""
