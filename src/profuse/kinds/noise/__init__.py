"""Noise in the rows of a modality, as they were read: what each kind's corruptions are made of.

A kind names its corruptions in `Kind.corruptions`, and in `Kind.usual` those that make its noise where no other is
asked for. Here is one file for each form that rows have: cells, steps, samples, pixels, words.

With the same draws, what is hit at a low level is hit at all higher ones too: draws never depend on the level. The
unit of numbers is a robust spread of the rows that are given, `spread`.
"""
