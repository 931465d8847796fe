"""The report of a study: its tables and figures as files, and all of them on one page."""
