"""Runs as one HTML page, made only from the files of their workdirs.

Modules find the values. Jinja templates in templates/ hold all of the markup:
base.html, with style.css and charts.js, holds page.html or comparison.html; these use
macros.html, and a chart.svg for each metric.

page        the page of a run
comparison  the page of several runs
rendering   templates, with their values escaped
run_files   files of a workdir, read without TensorFlow
pictures    pictures of a workdir
figures     pictures with their captions
cards       metrics with their curves
charts      curves as SVG
tables      tables of metrics, scores, dataset and provenance
in_words    sentences that say how a run went
texts       values as text
work_time   time at work, from the event files
"""
