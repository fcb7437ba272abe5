"""A real SMTP server (aiosmtpd) that tells on its standard output, a line of JSON each, what it took: parsed by Python's own `email`,
which raises on anything that is not well-formed. Its manner is the JSON of the first argument."""

import asyncio
import email
import email.policy
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

manner = json.loads(sys.argv[1])


def tell(what):
    print(json.dumps(what), flush=True)


def parsed(content):
    mail = email.message_from_bytes(content, policy=email.policy.strict)
    # In this policy a header is parsed when it is read, and what is wrong with one stands in its defects.
    headers = [[name, str(value)] for name, value in mail.items()]
    defects = [str(defect) for _, value in mail.items() for defect in value.defects]
    longest = max(len(line) for line in content.split(b"\r\n"))
    return {
        "headers": headers,
        "defects": defects + [str(defect) for defect in mail.defects],
        "parts": mail.is_multipart(),
        "type": mail["content-type"].content_type + " " + str(mail["content-type"].params.get("charset")),
        "text": mail.get_content().replace("\r\n", "\n"),
        "longest": longest,
        "bare": content.replace(b"\r\n", b"").count(b"\n") + content.replace(b"\r\n", b"").count(b"\r"),
    }


class Handler:
    async def handle_DATA(self, server, session, envelope):
        answer = manner.get("answer", "250 taken")
        if answer.startswith("250"):
            try:
                mail = parsed(envelope.content)
            except Exception as wrong:  # It is told, and fails the test there.
                mail = {"wrong": repr(wrong)}
            mail.update({"from": envelope.mail_from, "to": envelope.rcpt_tos, "tls": server.transport.get_extra_info("sslcontext") is not None})
            mail["user"] = session.auth_data.login.decode() if session.authenticated else None
            tell(mail)
        return answer


def authenticate(server, session, envelope, mechanism, login):
    password = login.password.decode()
    if password == manner.get("password"):
        return AuthResult(success=True, auth_data=login)
    # The worst server says what it was sent.
    return AuthResult(success=False, handled=False, message="535 not " + password)


async def main():
    context = None
    if "certificate" in manner:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(manner["certificate"], manner["key"])
    starts = manner.get("tls") == "starttls"
    kept = {"authenticator": authenticate, "auth_required": "password" in manner, "auth_require_tls": context is not None}
    if starts:
        kept.update({"tls_context": context, "require_starttls": True})
    elif context:
        kept["auth_require_tls"] = False
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(Handler(), hostname="localhost", enable_SMTPUTF8=False, **kept),
        "127.0.0.1",
        manner.get("port", 0),
        ssl=None if starts else context,
    )
    tell({"port": server.sockets[0].getsockname()[1]})
    await server.serve_forever()


asyncio.run(main())
