"""Draws synthetic faces with true attributes, in the layout of CelebA.

factors     draws the factors of a face from its index
attributes  CelebA's attributes of a face
face        draws a whole face as JPEG
drawings    draws faces with their labels in several processes
layout      writes a folder in CelebA's layout
canvas      coverage, blending, colours, noise
frame       position of the head and of its parts
light       light and the colours in it
scene       background, neck, clothes
head        head, ears and skin
hair        hair behind and in front of the head
eyes        eyes and brows
mouth       lips and teeth
beard       beard
glasses     glasses
"""
