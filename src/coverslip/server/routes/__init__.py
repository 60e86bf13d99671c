"""The routes, by what they are about. Each is listed with its role in `coverslip.server.roles`."""

from coverslip.server.routes import docs, learning, login, overlays, people, readings, reports, shapes, slides

ROUTERS = (
    docs.router, login.router, people.router, slides.router, shapes.router, readings.router,
    reports.router, overlays.router, learning.router,
)  # fmt: skip
