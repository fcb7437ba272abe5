//! What people are told of folders of files: by `check`, where one cannot be, and by alerts, where a file cannot be taken or nothing can for long.

#[path = "common/spooled.rs"]
mod spooled;
#[path = "common/told.rs"]
mod told;

use std::fs;
use std::os::unix::fs::symlink;

use goniec::config::{Config, Process};
use spooled::{NOW, ROUTE, world};

#[test]
fn a_refused_file_is_told_once_over_starts_and_owed_until_it_was() {
    let mut world = world(ROUTE);
    world.told.fails(true);
    world.put("a.json", "{");
    world.put("b.ndjson", "{\"id\":1}\n{\"id\":}\n");
    let aside = world.look().aside.expect("both lie there");
    assert_eq!((aside.files, &*aside.last), (2, "b.ndjson"));
    assert!(aside.why.starts_with("line 2: column 7: not JSON"), "{}", aside.why);
    // Nobody could be told before the node ended.
    world.again();
    world.told.fails(false);
    world.look();
    world.is_told(&["orders source-refused"]);
    world.look_until_told();
    for _ in 0..3 {
        world.again();
        assert_eq!(world.look().aside.map(|aside| aside.files), Some(2), "they are seen after a start");
        world.is_told(&[]);
    }
    world.put("c.json", "{");
    world.look();
    world.is_told(&["orders source-refused"]);
    world.look_until_told();
    // Somebody has tidied up.
    for name in ["a.json", "b.ndjson", "c.json"] {
        fs::remove_file(world.dir.path().join("failed").join(name)).expect("removes");
    }
    assert_eq!(world.look().aside, None);
}

#[test]
fn a_folder_by_way_of_a_link_is_the_same_folder() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::create_dir(dir.path().join("orders")).expect("makes");
    symlink(dir.path().join("orders"), dir.path().join("link")).expect("links");
    let config = format!(
        "[source.a]\nspool = {:?}\n[source.b]\nspool = {:?}\n[[route]]\nto = [\"log\"]\n",
        dir.path().join("orders"),
        dir.path().join("link")
    );
    let problems = Config::parse(&config, "test", &Process).map(drop).expect_err("not sound");
    let said: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert!(said[0].contains("test:4:1: source.b.spool: is the folder of source \"a\""), "{said:?}");
    assert_eq!(said.len(), 1, "{said:?}");
}

#[test]
fn a_folder_that_is_not_there_is_told_until_it_is() {
    let mut world = world(ROUTE);
    let (dir, away) = (world.dir.path().to_owned(), world.dir.path().with_extension("away"));
    fs::rename(&dir, &away).expect("moves");
    assert!(world.look().last_error.is_some_and(|why| why.contains("its folder cannot be used")));
    let minute_ms = 60_000;
    world.spooler.turn(NOW.plus(9 * minute_ms), &|| false);
    world.is_told(&[]);
    for minutes in [10, 11] {
        world.spooler.turn(NOW.plus(minutes * minute_ms), &|| false);
    }
    world.is_told(&["orders source-failing"]);
    fs::rename(&away, &dir).expect("moves");
    world.put("a.json", "{\"id\":1}");
    let status = world.look();
    assert_eq!((status.taken, status.last_error), (1, None));
    world.is_told(&["orders source-read"]);
}

#[test]
fn a_spool_that_cannot_be_is_said() {
    let said = |sources: &str| {
        let config = format!("{sources}\n[[route]]\nto = [\"log\"]\n");
        let problems = Config::parse(&config, "test", &Process).map(drop).expect_err("not sound");
        problems.iter().map(|problem| format!("{:?} {}", problem.at, problem.what)).collect::<Vec<_>>().join("\n")
    };
    for (sources, says) in [
        ("[source.a]\nspool = {}", "(2, 1)) source.a.spool: a dir is missing"),
        ("[source.a]\nspool = { dir = \"/a\", keep = \"5\" }", "(2, 30)) source.a.spool.keep"),
        (
            "[source.a]\nspool = \"/a\"\nverify = { preset = \"none\" }",
            "(3, 1)) source.a.verify: does nothing with a spool",
        ),
        ("[source.a]\nspool = \"/a\"\ntype = { header = \"x\" }", "source.a.type.header: a file has no headers"),
        (
            "[source.a]\nspool = \"/a\"\n[source.b]\nspool = { dir = \"/./a/\" }",
            "(4, 11)) source.b.spool.dir: is the folder of source \"a\"",
        ),
        ("[source.a]", "source.a: a verify is missing"),
    ] {
        assert!(said(sources).contains(says), "{sources}\n{}", said(sources));
    }
}
