"""Pages: what comes from outside is text in them, whatever it holds, and nothing is fetched."""

from base64 import b64encode
from pathlib import Path

import pytest
from PIL import Image

from ferdata.console.demo import TEMPLATE
from ferdata.training.report.render import picture_bytes, render_page

HOSTILE = "<b onload='x()'>\u202e\"&\x1b[31m s3://u:SECRET@h/a"
HARMLESS = "&lt;b onload=&#39;x()&#39;&gt;\\u202e&#34;&amp;\\x1b[31m s3://***@h/a"


def test_a_value_is_text_wherever_it_stands(tmp_path: Path) -> None:
    """Class names, keys and notes come from anybody's files; between tags, in attributes and through a macro."""
    template = tmp_path / "page.html"
    template.write_text(
        '{% extends "base.html" %}{% macro shout(text) %}<i>{{ text }}</i>{% endmacro %}'
        '{% block content %}<p title="{{ name }}">{{ name | setting }}</p>{{ shout(name) }}{% endblock %}'
    )

    page = render_page(template, title=HOSTILE, name=HOSTILE)

    assert f"<title>{HARMLESS}</title>" in page
    assert f'<p title="{HARMLESS}">{HARMLESS}</p><i>{HARMLESS}</i>' in page


def test_a_value_that_is_missing_is_an_error_and_not_a_gap(tmp_path: Path) -> None:
    """A page with a hole in it would be believed."""
    template = tmp_path / "page.html"
    template.write_text("{{ name }}")

    with pytest.raises(Exception, match="'name' is undefined"):
        render_page(template)


def test_the_demo_s_page_holds_its_figures_and_pictures() -> None:
    """On the same base as a run's page, with the same style sheet inside."""
    picture = picture_bytes(Image.new("RGB", (40, 30)), 40, "PNG")

    page = render_page(
        TEMPLATE,
        title="ferdata demo",
        seconds=61.4,
        figures={"ingest": "<9> images/s"},
        pictures=[("Faces", picture)],
        run_page="r.html",
    )

    assert "learned in 61 seconds" in page and "<tr><th>ingest</th><td>&lt;9&gt; images/s</td></tr>" in page
    assert f'style="--inches: 0.28" src="data:image/png;base64,{b64encode(picture).decode()}"' in page
    assert "--ground" in page and "max(100%, var(--inches) * 62px)" in page
    assert '<a href="r.html">' in page
