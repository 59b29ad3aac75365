"""Sixty scripted runs whose finished work is sliced and proved: how much is left, and whether what is proved is so."""
