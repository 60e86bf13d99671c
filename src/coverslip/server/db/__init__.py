"""What people leave behind: shapes, readings, and the record of who did what; SQLite or PostgreSQL."""

from coverslip.server.db.database import Database
from coverslip.server.db.drawings import Drawings, Drawn
from coverslip.server.db.readings import Reading, Readings
from coverslip.server.db.record import Record
from coverslip.server.db.reports import Report, Reports

__all__ = ["Database", "Drawings", "Drawn", "Reading", "Readings", "Record", "Report", "Reports"]
