"""One HTML file that convinces a reviewer: verdicts, checklist, charts, tables, every run; for commands."""
