"""Shared by Berth's integration tests: servers, farms, clients and independent checks.

Nothing here uses Berth's C code: PyJWT signs requests, confluent-kafka sends them, PyMySQL reads
rows, and the checks are written from docs/.
"""
