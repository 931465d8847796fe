"""The report of a run: page, gallery and plots."""
