//! `demo`: a web shop, an ERP and a courier that misbehave, in one process with a node and its console, so that one sees how it heals.
//!
//! ```text
//! plan     the node's configuration, and the pace    systems  the three of them, as sinks    host   the node
//! place    the directory                             goods    what they say to each other    stage  calls, waits, and tells
//! acts     the four stories                          trickle  what goes on after them        judge  whether anything was lost
//! ```
//!
//! # What holds
//!
//! * Everything lies in one directory, which goes at the end unless the visitor named it, and listens on this machine alone.
//! * It ends with an account: what was accepted, against what the systems took and what the registry says. Whatever was promised and is not so makes the exit code 1.
//!
//! # What it does not know
//!
//! How anything is stored or delivered.

mod acts;
mod goods;
mod host;
mod judge;
mod place;
mod plan;
mod stage;
mod systems;
mod trickle;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::{ArgMatches, Command};
use comfy_table::{Table, presets};

use self::goods::DESTINATIONS;
use self::host::Host;
use self::judge::judge;
use self::place::Place;
use self::plan::{Pace, Tokens, VISITOR, configuration};
use self::stage::{Halt, Stage, line};
use self::systems::Systems;
use super::journal;
use super::messages::field;
use super::{Fail, NO, USAGE, option, say, switch, text};

/// The fastest pace.
const PACE_MAX: u64 = 10;
/// Where a node usually listens.
const USUAL: ([u8; 4], u16) = ([127, 0, 0, 1], 8420);
/// How long the visitor has to open the console.
const PRELUDE_MS: u64 = 5_000;
/// How long what is under way may take to arrive at the end.
const HOME_LIMIT: Duration = Duration::from_secs(20);

/// The verb.
pub(super) fn verb() -> Command {
    let pace = clap::value_parser!(u64).range(1..=PACE_MAX);
    Command::new("demo")
        .about("A shop, an ERP and a courier that misbehave, in one process with the console; what goes wrong heals before one's eyes")
        .arg(
            option("listen", "ADDR", "Where to listen; 127.0.0.1:8420 by default, or a free port where that is taken")
                .value_parser(clap::value_parser!(SocketAddr)),
        )
        .arg(option("data", "DIR", "Keeps the registry there; it must not exist or be empty. Else all of it goes at the end"))
        .arg(option("pace", "N", "So many times as fast").default_value("1").value_parser(pace))
        .arg(switch("once", "Ends after the four stories: exit 0 where all that they promise was true"))
        .arg(switch("open", "Opens the console in a browser"))
        .arg(
            option("courier", "RULE", "One more rule for the courier, a line of a script of the sink: `chance 10% -> take reset`"),
        )
}

/// Plays, and gives account.
pub(super) fn run(arguments: &ArgMatches) -> Result<(), Fail> {
    let begun = Instant::now();
    log_beside(begun);
    let signals = super::serve::signals()?;
    let listen = arguments.get_one::<SocketAddr>("listen").copied();
    if let Some(listen) = listen.filter(|listen| !listen.ip().is_loopback()) {
        return Err(Fail::new(USAGE, format!("{listen} can be reached from other machines, and this is a demo"))
            .hint("Choose an address of this machine, as 127.0.0.1:8420."));
    }
    // Before anything is written.
    let listened = listen.map(TcpListener::bind).transpose();
    drop(listened.map_err(|error| {
        Fail::new(USAGE, format!("cannot listen there: {error}")).hint("Choose another address with --listen.")
    })?);
    let pace = Pace(arguments.get_one("pace").copied().unwrap_or(1));
    let systems = Systems::start(pace, text(arguments, "courier").unwrap_or_default())?;
    let place = Place::of(text(arguments, "data"))?;
    let tokens = Tokens::fresh()?;
    let toml = configuration(&systems.addresses(), pace);
    let config = tokens.read(&toml, "goniec.toml")?;
    let host = Host::start(config, &place, listen, USUAL.into())?;
    let files =
        place.write("goniec.toml", &toml).and_then(|toml| Ok((toml, place.write("token", tokens.of(VISITOR))?)));
    let played = files.and_then(|files| {
        let url = host.url();
        welcome(&host, &files, arguments.get_flag("open"))?;
        let mut stage = Stage::new(&systems, pace, &tokens, (host.engine.clone(), url), (begun, &signals));
        play(&mut stage, arguments.get_flag("once"))
    });
    let stopped = host.stop();
    if place.stays() {
        let registry = super::visible(&place.registry().display().to_string());
        // What became of the demo is more than whether somebody reads this.
        let _told = say(&format!("the registry stays: goniec verify --data '{registry}'"));
    }
    played.and(stopped)
}

/// What the log says stands in the terminal as the rest does: alerts among it.
fn log_beside(begun: Instant) {
    let filter = env_logger::Env::default().default_filter_or("warn,sled=error");
    journal::over(
        env_logger::Builder::from_env(filter)
            .format(move |to, record| writeln!(to, "{}", line(begun, "log", &record.args().to_string()))),
    );
}

fn welcome(host: &Host, (toml, token): &(std::path::PathBuf, std::path::PathBuf), opens: bool) -> Result<(), Fail> {
    let shown = |path: &std::path::Path| super::visible(&path.display().to_string());
    let (url, link) = (host.url(), host.link()?);
    if let Some(why) = &host.moved {
        say(&format!("{why}. A free port does instead"))?;
    }
    say(&format!(
        "goniec demo: a web shop, an ERP and a courier, with goniec between them on {url}\n  \
         the console, by a link that works once:  {link}\n  \
         its configuration, to read:              {}\n  \
         the command line, in another terminal:   GONIEC_URL={url} GONIEC_TOKEN=$(cat '{}') goniec ls",
        shown(toml),
        shown(token)
    ))?;
    if opens && let Err(error) = browse(&link) {
        say(&format!("no browser could be opened: {error}"))?;
    }
    Ok(())
}

fn browse(link: &str) -> std::io::Result<()> {
    let opener = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = std::process::Command::new(opener);
    let mut child = command.arg(link).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    // Who opened it is waited for; the browser may live on.
    std::thread::Builder::new().name("demo-browser".into()).spawn(move || drop(child.wait()))?;
    Ok(())
}

/// Plays the acts, goes on unless `once`, and gives account.
fn play(stage: &mut Stage<'_>, once: bool) -> Result<(), Fail> {
    let played = stage.rest(PRELUDE_MS).and_then(|()| acts::play(stage)).and_then(|()| {
        if once {
            return Ok(());
        }
        let left = acts::leave_one(stage)?;
        trickle::run(stage, &left)
    });
    match played {
        Ok(()) | Err(Halt::Stopped) => account(stage, once),
        Err(Halt::Failed(fail)) => Err(fail),
    }
}

/// What became of every message.
fn account(stage: &mut Stage<'_>, once: bool) -> Result<(), Fail> {
    stage.act("The account: what was accepted, what the systems took, what the registry says")?;
    stage.systems.heal()?;
    if !stage.come_home(Duration::ZERO)? {
        stage.tell("demo", &format!("lets what is under way arrive, for {} s at most", HOME_LIMIT.as_secs()))?;
        stage.come_home(HOME_LIMIT)?;
    }
    let (registry, touched) = (stage.registry()?, stage.touched()?);
    let mut table = Table::new();
    let head = ["TO", "ACCEPTED", "DELIVERED", "SUPERSEDED", "WAITING", "REMOVED", "TWICE", "LOST"];
    table.load_style(presets::NOTHING).set_header(head.to_vec());
    let mut is_sound = true;
    for destination in DESTINATIONS {
        let system = stage.systems.behind(destination);
        let tally = judge(&stage.handed, destination, &registry, &touched, |id| system.taken(id));
        is_sound &= tally.is_sound() && (tally.waiting == 0 || !once);
        let figures =
            [tally.accepted, tally.delivered, tally.superseded, tally.waiting, tally.removed, tally.twice, tally.lost];
        table.add_row([destination.to_owned()].into_iter().chain(figures.map(|figure| figure.to_string())));
    }
    say(&table.to_string())?;
    let attempts = field(&stage.read("/v1/stats")?, "attempts");
    say(&format!("{attempts} attempts by the registry, {} requests by the systems", stage.systems.requests()))?;
    if !is_sound {
        stage.broken.push("every message arrives, and none twice".into());
    }
    match stage.broken.as_slice() {
        [] => say("everything that was promised is true"),
        broken => Err(Fail::new(NO, format!("not everything that was promised is true: {}", broken.join("; ")))
            .hint("What is above says what was seen instead.")),
    }
}
