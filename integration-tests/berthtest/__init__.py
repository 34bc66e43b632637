"""What Berth's integration tests share: servers, farms, clients and checks of their own.

Nothing here is taken from Berth's C code: requests are signed by PyJWT, sent by confluent-kafka,
rows read by PyMySQL, and what must hold is written down once more, from docs/.
"""
