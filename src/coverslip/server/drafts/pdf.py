"""A report as PDF, by ReportLab."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from xml.sax.saxutils import escape

from coverslip.server.db.reports import Report
from coverslip.server.drafts.pictures import RegionPicture, plain_spaces, typeface

GREY, INK, BLUE, AMBER = "#5b6675", "#1b2430", "#0f5c8a", "#9a5b00"
LEFT_MM = 22.1
"""Where text begins: the margin, and ReportLab's own padding of 6 points."""

COLUMN_MM = 82.0
"""Width of a picture; two stand side by side."""

Pictures = Callable[[Mapping[str, Any]], RegionPicture | None]
"""Makes the picture of a region; None where it cannot be made."""


def as_pdf(report: Report, pictures: Pictures) -> bytes:
    """Return a report as PDF. The same report gives the same bytes.

    Parameters
    ----------
    pictures
        Makes the picture of a region.
    """
    from reportlab.lib.pagesizes import A4
    from reportlab.lib.units import mm
    from reportlab.platypus import SimpleDocTemplate

    _typefaces()
    out = io.BytesIO()
    title = f"{'Report' if report.signed else 'Draft report'} of case {report.case}"
    document = SimpleDocTemplate(
        out, pagesize=A4, leftMargin=20 * mm, rightMargin=20 * mm, topMargin=18 * mm, bottomMargin=22 * mm,
        title=drawable(title), author=drawable(report.signed_by or report.author), creator="Coverslip",
        invariant=1,
    )  # fmt: skip
    under = _under(report)
    document.build(
        _story(report, title, pictures), onFirstPage=under, onLaterPages=under, canvasmaker=_numbered(report)
    )
    return out.getvalue()


def drawable(text: object) -> str:
    """Return a text in which what the typeface cannot draw is a question mark.

    Examples
    --------
    >>> drawable("Müller, 5 µm²"), drawable("患者 7")
    ('Müller, 5 µm²', '?? 7')
    """
    known = _glyphs()
    plain = plain_spaces(str(text))
    return "".join(one if one in "\n\t" or ord(one) in known else "?" for one in plain)


# ---------------------------------------------------------------------- parts
def _story(report: Report, title: str, pictures: Pictures) -> list[Any]:
    content = report.content
    return [
        _text(title, "title"),
        _text(_status(report), "signed" if report.signed else "draft"),
        *_sections(content["sections"]),
        *_own(content["own"]),
        *_models(content["models"]),
        *_measurements([one for one in content["measurements"] if one["kept"]]),
        *_regions([one for one in content["regions"] if one["kept"]], pictures),
        *_slides(content["slides"]),
    ]


def _status(report: Report) -> str:
    version = f"version {report.version}"
    if report.signed is None:
        saved = f"saved by {report.saved_by} on {_when(report.saved)}"
        return f"Draft, {version}.{report.edit}, {saved}. Not signed."
    whole = "" if report.is_whole else " THE CONTENT IS NOT WHAT WAS SIGNED."
    return f"{version.capitalize()}, signed by {report.signed_by} on {_when(report.signed)}.{whole}"


def _sections(sections: Mapping[str, str]) -> list[Any]:
    found: list[Any] = []
    for name, text in sections.items():
        if text.strip():
            found += [
                _text(name.capitalize(), "head"),
                *(_text(part, "body") for part in text.split("\n") if part.strip()),
            ]
    return found


def _own(own: Sequence[Mapping[str, Any]]) -> list[Any]:
    if not own:
        return []
    rows = [
        (one["slide"], one["label"], _percent(one["confidence"]), _decided(one), _when(one["locked"]))
        for one in own
    ]
    head = ("Slide", "Finding", "Confidence", "After the reveal", "Locked")
    title = "The reader's own finding, before the model's was shown"
    return [_text(title, "head"), _table(head, rows, (36, 36, 22, 46, 30))]


def _decided(one: Mapping[str, Any]) -> str:
    if not one["decision"]:
        return "not decided"
    return f"{one['decision']}: {one['final']}" + (f" ({one['reason']})" if one["reason"] else "")


def _models(models: Sequence[Mapping[str, Any]]) -> list[Any]:
    if not models:
        return []
    found = [_text("What models suggest", "head")]
    for one in models:
        rows = [(name, value) for name, value in _statement(one) if value]
        found.append(_table((f"{one['slide']}: {one['label']}", ""), rows, (44, 126)))
    return found


def _statement(one: Mapping[str, Any]) -> list[tuple[str, str]]:
    model, unlike = one["model"], one["unlike"]
    right = one.get("calibrated")
    far = (
        ""
        if unlike["distance"] is None
        else f" (distance {unlike['distance']:.2f}, limit {unlike['limit']:.2f})"
    )
    like = {True: "UNLIKE the training data", False: "like the training data", None: "unknown"}[unlike["is"]]
    return [
        ("Confidence", f"{_percent(one['confidence'])} as the model says"),
        (
            "Calibrated",
            "no calibration is known"
            if right is None
            else f"{_percent(right['confidence'])}, by {right['method']}",
        ),
        ("Model", f"{model['name']}, version {model['version']}"),
        ("Resolution", "" if one["mpp"] is None else f"{one['mpp']:g} µm per pixel"),
        ("Trained on", one["trained_on"] or "not stated"),
        ("This slide", f"{like}{far}; {unlike['why']}"),
        ("Use", one["use"]),
    ]


def _measurements(rows: Sequence[Mapping[str, Any]]) -> list[Any]:
    if not rows:
        return []
    told = [(one["slide"], one["name"], f"{one['value']:,.4g} {one['unit']}".strip()) for one in rows]
    return [_text("Measurements", "head"), _table(("Slide", "What", "Value"), told, (40, 90, 40))]


def _regions(regions: Sequence[Mapping[str, Any]], pictures: Pictures) -> list[Any]:
    if not regions:
        return []
    cells = [_cell(number, one, pictures(one)) for number, one in enumerate(regions, start=1)]
    return [_text("Regions", "head"), *(_pair(cells[at : at + 2]) for at in range(0, len(cells), 2))]


def _cell(number: int, region: Mapping[str, Any], picture: RegionPicture | None) -> list[Any]:
    from reportlab.lib.units import mm
    from reportlab.platypus import Image

    said = f"<b>{number}. {escape(drawable(region['caption']))}</b>"
    where = f"{region['slide']}; {region['why']}; by {region['by']}"
    if picture is None:
        return [_text("This region cannot be shown.", "small"), _marked(said), _text(where, "small")]
    wide = COLUMN_MM * mm
    high = wide * picture.height / picture.width
    if high > wide:
        wide, high = wide * wide / high, wide
    scale = "" if picture.mpp is None else f"; {picture.mpp:.3g} µm per pixel, bar {picture.bar}"
    return [
        Image(io.BytesIO(picture.data), width=wide, height=high),
        _marked(said),
        _text(where + scale, "small"),
    ]


def _pair(cells: Sequence[list[Any]]) -> Any:
    from reportlab.lib.units import mm
    from reportlab.platypus import Table, TableStyle

    look = TableStyle(
        [
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 8),
        ]
    )
    return Table([[*cells, *[""] * (2 - len(cells))]], colWidths=[85 * mm] * 2, style=look, hAlign="LEFT")


def _slides(slides: Sequence[Mapping[str, Any]]) -> list[Any]:
    rows = []
    for one in slides:
        size = one.get("problem") or f"{one['size'][0]:,} × {one['size'][1]:,} px"
        scale = "no scale" if one["mpp"] is None else f"{one['mpp']:.4g} µm per pixel"
        rows.append((one["id"], size, scale, one["vendor"] or ""))
    return [_text("Slides", "head"), _table(("Slide", "Size", "Scale", "Scanner"), rows, (60, 45, 35, 30))]


# ---------------------------------------------------------------------- typesetting
@cache
def _typefaces() -> None:
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    for name in ("Vera", "VeraBd"):
        pdfmetrics.registerFont(TTFont(name, str(typeface(name))))
    pdfmetrics.registerFontFamily("Vera", normal="Vera", bold="VeraBd", italic="Vera", boldItalic="VeraBd")


@cache
def _glyphs() -> frozenset[int]:
    from reportlab.pdfbase.ttfonts import TTFont

    return frozenset(TTFont("glyphs", str(typeface("Vera"))).face.charToGlyph)


@cache
def _styles() -> dict[str, Any]:
    from reportlab.lib.styles import ParagraphStyle

    def style(name: str, size: float, colour: str, **more: Any) -> Any:
        return ParagraphStyle(
            name, fontName="Vera", fontSize=size, leading=size * 1.4, textColor=colour, **more
        )

    return {
        "title": style("title", 16, INK, spaceAfter=4),
        "draft": style("draft", 9, AMBER, spaceAfter=6),
        "signed": style("signed", 9, BLUE, spaceAfter=6),
        "head": style("head", 10.5, BLUE, spaceBefore=12, spaceAfter=4, keepWithNext=1),
        "body": style("body", 9.5, INK, spaceAfter=3),
        "cell": style("cell", 8, INK),
        "small": style("small", 7, GREY),
    }


def _text(text: object, style: str) -> Any:
    return _marked(escape(drawable(text)), style)


def _marked(markup: str, style: str = "cell") -> Any:
    from reportlab.platypus import Paragraph

    return Paragraph(markup, _styles()[style])


def _table(head: Sequence[str], rows: Sequence[Sequence[object]], widths_mm: Sequence[float]) -> Any:
    from reportlab.lib.units import mm
    from reportlab.platypus import Table, TableStyle

    look = TableStyle(
        [
            ("VALIGN", (0, 0), (-1, -1), "TOP"), ("LINEBELOW", (0, 0), (-1, 0), 0.6, BLUE),
            ("LINEBELOW", (0, 1), (-1, -1), 0.25, "#c9d2dc"), ("TOPPADDING", (0, 0), (-1, -1), 2.5),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 2.5), ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ]
    )  # fmt: skip
    first = [_marked(f"<b>{escape(drawable(one))}</b>") for one in head]
    cells = [[_text(value, "cell") for value in row] for row in rows]
    widths = [width * mm for width in widths_mm]
    return Table([first, *cells], colWidths=widths, style=look, hAlign="LEFT", repeatRows=1, spaceAfter=6)


def _under(report: Report) -> Callable[[Any, Any], None]:
    """Return what writes DRAFT across a page, under everything else, until somebody has signed."""
    from reportlab.lib.units import mm

    def under(canvas: Any, _document: Any) -> None:
        if report.signed is not None:
            return
        canvas.saveState()
        canvas.setFont("VeraBd", 90)
        canvas.setFillColor("#f6ecd9")
        canvas.translate(105 * mm, 148 * mm)
        canvas.rotate(52)
        canvas.drawCentredString(0, -30, "DRAFT")
        canvas.restoreState()

    return under


def _numbered(report: Report) -> Any:
    """Return a canvas that puts a foot under each page, once it is known how many there are."""
    from reportlab.lib.units import mm
    from reportlab.pdfgen.canvas import Canvas

    class Numbered(Canvas):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self._pages: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802 - ReportLab's name
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            for number, page in enumerate(self._pages, start=1):
                self.__dict__.update(page)
                self._foot(number, len(self._pages))
                super().showPage()
            super().save()

        def _foot(self, number: int, pages: int) -> None:
            self.setFont("Vera", 7)
            self.setFillColor(GREY)
            self.drawString(
                20 * mm,
                13 * mm,
                drawable(f"{report.content['use'].capitalize()}. Coverslip {report.content['coverslip']}"),
            )
            self.drawRightString((210 - LEFT_MM) * mm, 13 * mm, f"{number} of {pages}")
            mark = f"Report {report.id}" + (
                "" if report.digest is None else f", signed: SHA-256 {report.digest}"
            )
            self.setFont("Vera", 6)
            self.drawString(LEFT_MM * mm, 9.5 * mm, mark)

    return Numbered


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"


def _when(time: str | None) -> str:
    return "" if time is None else datetime.fromisoformat(time).strftime("%Y-%m-%d %H:%M UTC")
