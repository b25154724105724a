"""One HTML file that convinces a reviewer: verdicts, checklist, charts, tables, every run; commands enter it."""
