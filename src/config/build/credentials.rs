//! As whom goniec comes to a destination, whom it believes there, and what it signs with.
//!
//! # What it does not know
//!
//! Where secrets come from, and where the tokens that follow them are kept.

use std::sync::Arc;
use std::time::Duration;

use super::super::Problem;
use super::super::fields::{Field, Section};
use super::{missing, note};
use crate::transport::http::{Grant, Http, OAuth, Session, Tls};
use crate::transport::secret::{Encoding, Hmac, Secret, Shelf, Signing};

/// The way to the destination `name` with its credentials.
pub(super) fn credentials(
    http: Http,
    name: &str,
    section: &Section,
    shelf: &Shelf,
    problems: &mut Vec<Problem>,
) -> Http {
    let tls = trusting(section, problems);
    let http = authorised(http.tls(tls.clone()), name, section, shelf, tls, problems);
    let http = signed(http, section, problems);
    sealed(http, section, problems)
}

/// How a secret is written.
pub(super) const SECRET: &str = "{ env = \"NAME\" }";

fn authorised(http: Http, name: &str, section: &Section, shelf: &Shelf, tls: Tls, problems: &mut Vec<Problem>) -> Http {
    let Some(auth) = section.section("auth") else { return http };
    let own = if auth.has("session") { "cookie" } else { "authorization" };
    let has_header = section
        .section("headers")
        .is_some_and(|headers| headers.fields.keys().any(|header| header.eq_ignore_ascii_case(own)));
    if has_header {
        note(problems, &auth.place, &format!("the header `{own}` is set too"), "one of the two");
    }
    let ways = (auth.section("basic"), auth.secret("bearer"), auth.section("oauth"), auth.section("session"));
    let (place, made) = match ways {
        (Some(basic), None, None, None) => {
            missing(basic, &[("user", "user = \"anna\""), ("password", SECRET)], problems);
            let (Some(user), Some(password)) = (basic.text("user"), basic.secret("password")) else { return http };
            (basic.place("user"), http.basic(user, password))
        }
        (None, Some(token), None, None) => (auth.place("bearer"), http.bearer(token)),
        (None, None, Some(oauth), None) => match by_tokens(name, oauth, shelf, problems) {
            Some(tokens) => (&oauth.place, http.oauth(tokens)),
            None => return http,
        },
        (None, None, None, Some(session)) => match by_login(session, tls, problems) {
            Some(login) => (&session.place, http.session(login)),
            None => return http,
        },
        (None, None, None, None) if !auth.refused.is_empty() => return http,
        (_, _, _, _) => {
            let what = "one of basic, bearer, oauth and session is expected";
            note(problems, &auth.place, what, "bearer = { env = \"NAME\" }");
            return http;
        }
    };
    if let Err(wrong) = made.check() {
        note(problems, place, &wrong, "");
    }
    made
}

fn by_tokens(name: &str, oauth: &Section, shelf: &Shelf, problems: &mut Vec<Problem>) -> Option<OAuth> {
    let keys = [
        ("url", "url = \"https://auth.example/token\""),
        ("client_id", "client_id = \"goniec\""),
        ("client_secret", SECRET),
    ];
    missing(oauth, &keys, problems);
    let refresh = oauth.secret("refresh_token");
    let grant = if oauth.text("grant") == Some("refresh-token") {
        missing(oauth, &[("refresh_token", SECRET)], problems);
        let token = refresh?.clone();
        let keeper = Arc::new(shelf.keeper(name, token.clone()));
        Grant::RefreshToken { token, keeper }
    } else {
        if oauth.has("refresh_token") {
            note(problems, oauth.place("refresh_token"), "does nothing here", "grant = \"refresh-token\"");
        }
        Grant::ClientCredentials
    };
    let (url, client_id, secret) = (oauth.text("url")?, oauth.text("client_id")?, oauth.secret("client_secret")?);
    if let Err(wrong) = Http::post(url).check() {
        note(problems, oauth.place("url"), &wrong, "");
    }
    Some(OAuth::new(url, client_id, secret.clone(), oauth.text("scope"), grant))
}

/// Notes each refresh token that an earlier destination or source has too: whichever uses it first voids the other's.
pub(super) fn shared_refresh_tokens(root: &Section, problems: &mut Vec<Problem>) {
    let mut known: Vec<((&str, &str), &Section, &Secret)> = Vec::new();
    let named = |table: &str| root.section(table).into_iter().flat_map(Section::named);
    let polled = named("source").filter_map(|(name, section)| Some((name, section.section("poll")?)));
    let all = named("destination").map(|to| ("destination", to)).chain(polled.map(|from| ("source", from)));
    for (kind, (name, section)) in all {
        let Some(oauth) = section.section("auth").and_then(|auth| auth.section("oauth")) else { continue };
        let Some(token) = oauth.secret("refresh_token") else { continue };
        let is_same = |other: &Section| ["url", "client_id"].iter().all(|key| other.text(key) == oauth.text(key));
        if let Some(((kind, other), ..)) = known.iter().find(|(_, other, held)| is_same(other) && held.equals(token)) {
            let what = format!("{kind} {other:?} has the same one, and each would void the other's");
            note(problems, oauth.place("refresh_token"), &what, "a refresh token of its own for each destination");
        }
        known.push(((kind, name), oauth, token));
    }
}

fn by_login(session: &Section, tls: Tls, problems: &mut Vec<Problem>) -> Option<Session> {
    let keys =
        [("url", "url = \"https://sap.example/b1s/v1/Login\""), ("body", "body = { UserName = \"goniec\", .. }")];
    missing(session, &keys, problems);
    let (url, body) = (session.text("url")?, session.section("body")?);
    if let Err(wrong) = Http::post(url).check() {
        note(problems, session.place("url"), &wrong, "");
    }
    if body.fields.is_empty() && body.refused.is_empty() {
        note(problems, &body.place, "nothing is in it", &format!("Password = {SECRET}"));
    }
    let names = || body.fields.keys().map(String::as_str);
    let texts: Vec<(&str, &str)> = names().filter_map(|name| Some((name, body.text(name)?))).collect();
    let secrets: Vec<(&str, &Secret)> = names().filter_map(|name| Some((name, body.secret(name)?))).collect();
    let login = Session::new(url, &texts, &secrets, tls);
    Some(match session.number("lifetime") {
        Some(life_ms) => login.lasting(Duration::from_millis(life_ms)),
        None => login,
    })
}

fn trusting(section: &Section, problems: &mut Vec<Problem>) -> Tls {
    let mut tls = Tls::new();
    let Some(table) = section.section("tls") else { return tls };
    if let Some(ca) = table.text("ca") {
        match tls.clone().authorities(ca) {
            Ok(trusting) => tls = trusting,
            Err(wrong) => note(problems, table.place("ca"), &wrong, ""),
        }
    }
    match (table.text("cert"), table.secret("key")) {
        (Some(chain), Some(key)) => match tls.clone().client(chain, key) {
            Ok(known) => tls = known,
            Err(wrong) => note(problems, table.place("cert"), &wrong, ""),
        },
        (Some(_), None) => missing(table, &[("key", "key = { file = \"client.key\" }")], problems),
        (None, Some(_)) => missing(table, &[("cert", "cert = \"client.pem\"")], problems),
        (None, None) => {}
    }
    tls
}

fn signed(http: Http, section: &Section, problems: &mut Vec<Problem>) -> Http {
    let Some(sign) = section.section("sign") else { return http };
    missing(sign, &[("secret", SECRET)], problems);
    let Some(Field::Secrets(secrets)) = sign.field("secret") else { return http };
    match Signing::standard_webhooks(secrets) {
        Ok(signing) => http.sign(signing),
        Err(wrong) => {
            note(problems, sign.place("secret"), &wrong, "");
            http
        }
    }
}

fn sealed(http: Http, section: &Section, problems: &mut Vec<Problem>) -> Http {
    let Some(table) = section.section("hmac") else { return http };
    missing(table, &[("header", "header = \"x-signature\""), ("secret", SECRET)], problems);
    let (Some(header), Some(secret)) = (table.text("header"), table.secret("secret")) else { return http };
    let made =
        http.hmac(Hmac::new(header, Secret::clone(secret), encoding(table), table.text("prefix").unwrap_or_default()));
    if let Err(wrong) = made.check() {
        note(problems, table.place("header"), &wrong, "");
    }
    made
}

/// How a signature is written.
pub(super) fn encoding(table: &Section) -> Encoding {
    if table.text("encoding") == Some("base64") { Encoding::Base64 } else { Encoding::Hex }
}
