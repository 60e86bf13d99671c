"""``coverslip info``: what a slide says of itself."""

from __future__ import annotations

from typing import Any

import click

from coverslip.cli.output import as_json, pairs

json_option = click.option("--json", "in_json", is_flag=True, help="Print JSON.")


@click.command()
@click.argument("slide")
@json_option
@click.option("--mpp", help="Microns per pixel of level 0, over what the file says; or 20x.")
@click.option("--reader", help="Use this reader and no other.")
@click.option("--scene", default=0, show_default=True, help="Which picture of a file that holds several.")
def info(slide: str, in_json: bool, mpp: str | None, reader: str | None, scene: int) -> None:
    """Say what SLIDE is: size, microns per pixel, levels, vendor, and what is odd with it."""
    from coverslip.core import parse_mpp
    from coverslip.slides import open_slide

    scale = None if mpp is None else parse_mpp(mpp)
    with open_slide(slide, mpp=scale, reader=reader, scene=scene) as opened:
        values = opened.info()
    as_json(values) if in_json else pairs(_rows(values))


def _rows(values: dict[str, Any]) -> dict[str, str]:
    rows = {
        "slide": values["id"],
        "path": values["path"],
        "reader": f"{values['reader']} ({values['vendor']})",
        "size": f"{values['width']} × {values['height']} px{_millimetres(values)}",
        "mpp": _scale(values),
        "objective": "not stated" if values["objective_power"] is None else f"{values['objective_power']:g}x",
        "levels": "\n".join(
            f"{level['width']} × {level['height']}  1/{level['downsample']:g}" for level in values["levels"]
        ),
        "channels": f"{', '.join(values['channels'])} ({values['dtype']})",
        "associated": ", ".join(values["associated"]) or "none",
        "colour profile": "none" if values["icc"] is None else f"{values['icc']['bytes']} bytes",
        "digest": values["digest"],
    }
    if len(values["scenes"]) > 1:
        rows["scenes"] = "\n".join(f"{number}  {name}" for number, name in enumerate(values["scenes"]))
    return rows | ({"warnings": "\n".join(values["warnings"])} if values["warnings"] else {})


def _scale(values: dict[str, Any]) -> str:
    if values["mpp_x"] is None:
        return "not stated"
    both = f"{values['mpp_x']:.6g}"
    if abs(values["mpp_x"] / values["mpp_y"] - 1) > 1e-6:
        both += f" × {values['mpp_y']:.6g}"
    origin = f" ({values['mpp_origin']})" if values["mpp_origin"] else ""
    return f"{both} microns per pixel, from the {values['mpp_source']}{origin}"


def _millimetres(values: dict[str, Any]) -> str:
    if values["mpp_x"] is None:
        return ""
    width, height = values["width"] * values["mpp_x"] / 1e3, values["height"] * values["mpp_y"] / 1e3
    return f", {width:.3g} × {height:.3g} mm"
