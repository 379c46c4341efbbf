"""Templates of the page: values are escaped, and a missing value is an error."""

import base64

import jinja2

from trainer.reporting.html import texts

# Text by which `page.check_output` recognises a page.
FOOTER = "Made from the files of the run by python -m trainer.report"
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("trainer.reporting.html", "templates"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
_TEMPLATES.filters |= {
    "base64": lambda data: base64.b64encode(data).decode(),
    "moment": texts.moment,
    "exact": texts.exact,
    "number": texts.number,
    "setting": texts.setting,
}


def render(name: str, **values: object) -> str:
    """Returns a template filled with values.

    Args:
        name: File name in `templates/`.
        values: All values that the template uses, with text not yet escaped.

    Raises:
        jinja2.UndefinedError: If the template uses a value that is not given.
    """
    return _TEMPLATES.get_template(name).render(values)
