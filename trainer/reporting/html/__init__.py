"""A run as one HTML page, made only from the files of its workdir.

Modules find the values. Jinja templates in templates/ hold all of the markup: page.html
includes macros.html, style.css, and a chart.svg for each metric.

page       the page
rendering  templates, with their values escaped
run_files  files of a workdir, read without TensorFlow
charts     curves as SVG
tables     tables of metrics, scores, dataset and provenance
texts      values as text
work_time  time at work, from the event files
"""
