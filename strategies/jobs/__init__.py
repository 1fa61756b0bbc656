"""Rules that are plain PyFlink jobs: one file each, described in ``streaming/job.py``."""
