# SPDX-License-Identifier: GPL-3.0-or-later
"""Synthetic two-hand pictures made from the open hand: generate (batches), shards (files), sequence (clips).

from training.synthetic.generate import generate
    batch = generate(seed=1, batch=64, device="cuda")      # a SyntheticBatch, see batch.py

This file imports nothing.
"""
