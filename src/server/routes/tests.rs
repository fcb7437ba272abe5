//! The table finds its handlers, is printed as it is, and has no route twice.

use super::table::page;
use super::*;

#[test]
fn paths_find_their_handlers() {
    let found =
        |method: Method, path: &str| find(&method, path).map(|(route, names)| (route.handler, names[0].clone()));
    assert!(matches!(found(Method::POST, "/v1/send/shop%2Fa"), Ok((Handler::PostSend, name)) if name == "shop/a"));
    assert!(matches!(found(Method::GET, "/v1/messages/17/body"), Ok((Handler::ShowBody, name)) if name == "17"));
    assert!(matches!(found(Method::HEAD, "/healthz"), Ok((Handler::Healthz, _))));
    let both = find(&Method::GET, "/v1/keys/erp/a%2Fb").map(|(_, names)| names);
    assert_eq!(both.ok(), Some(["erp".to_owned(), "a/b".to_owned()]));
    for path in [
        "/v1/keys/erp/",
        "/v1/keys/erp/a/b",
        "/v1",
        "/v1/messages/",
        "/v1/messages/1/2/body",
        "/v1/send/",
        "//",
        "/healthz/",
    ] {
        assert!(found(Method::GET, path).is_err_and(|no| no.answer().status() == 404), "{path}");
    }
    assert!(found(Method::PATCH, "/v1/messages").is_err_and(|no| {
        let answer = no.answer();
        answer.status() == 405 && answer.headers().get("allow").is_some_and(|allow| allow == "POST, GET")
    }));
}

#[test]
fn the_page_of_the_routes_is_current() {
    let kept = include_str!("../../../docs/http.md");
    assert!(kept.contains(&page()), "docs/http.md is stale; its table is now:\n{}", page());
}

#[test]
fn no_two_routes_are_the_same() {
    for (i, route) in ROUTES.iter().enumerate() {
        let same = |other: &&Route| other.method == route.method && other.path == route.path;
        assert_eq!(ROUTES.iter().position(|other| same(&other)), Some(i), "{} {}", route.method, route.path);
    }
}

#[test]
fn percent_signs_are_decoded_or_refused() {
    assert_eq!(decode("a%20b%C5%BC").ok().as_deref(), Some("a bż"));
    for text in ["%", "%2", "%zz", "%ff"] {
        assert!(decode(text).is_err(), "{text}");
    }
    assert_eq!(pairs("q=a+b&x").ok(), Some(vec![("q".into(), "a b".into()), ("x".into(), String::new())]));
}
