//! The command line: one table of verbs, from which help, completions and the manual page come.
//!
//! # What holds
//!
//! * Exit codes: 0 done, 1 the answer is no, 2 usage or configuration, 3 the node cannot be reached, 4 the store failed.
//! * An error is one line, and where there is one a second line with what to do.
//! * What comes from elsewhere cannot steer the terminal: control characters are shown as such.
//!
//! # What it does not know
//!
//! How anything is stored or delivered: the verbs but `serve`, `demo` and `bench` talk to a running node.

mod alerts;
mod allocator;
mod bench;
mod beside;
mod bulk;
mod client;
mod demo;
mod journal;
mod keys;
mod lanes;
mod messages;
mod notify;
mod offline;
mod pages;
mod pulls;
mod reconcile;
mod send;
mod serve;
pub mod sink;
mod sources;
mod spools;
mod streams;
mod tokens;
mod transfer;

use std::io::Write;
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::config::Role;
use crate::error::Error;
use crate::model::seen::{visible, visible_json};

/// Why a verb did not do what was asked.
#[derive(Debug)]
struct Fail {
    code: u8,
    line: String,
    hint: Option<String>,
}

const NO: u8 = 1;
const USAGE: u8 = 2;
const UNREACHED: u8 = 3;
const STORE: u8 = 4;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let matches = match command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE));
        }
    };
    let done = match matches.subcommand() {
        Some((verb, arguments)) => run(verb, arguments),
        None => command().print_help().map_err(|error| Fail::new(NO, error.to_string())),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fail) => {
            fail.print();
            ExitCode::from(fail.code)
        }
    }
}

fn run(verb: &str, arguments: &ArgMatches) -> Result<(), Fail> {
    match verb {
        "serve" => serve::run(arguments),
        "demo" => demo::run(arguments),
        "check" => serve::check(arguments),
        "send" => send::run(arguments),
        "ls" => messages::ls(arguments),
        "show" => messages::show(arguments),
        "keys" => keys::list(arguments),
        "explain" => keys::explain(arguments),
        "edit" => messages::edit(arguments),
        "resend" | "cancel" | "hold" | "release" | "rm" | "resolve" => messages::act(verb, arguments),
        "destinations" => lanes::list(arguments),
        "sources" => sources::list(arguments),
        "streams" => streams::list(arguments),
        "pause" | "resume" => lanes::steer(verb, arguments),
        "cycle" => lanes::cycle(arguments),
        "bulk" => bulk::run(arguments),
        "audit" => bulk::audit(arguments),
        "incidents" => bulk::incidents(arguments),
        "reconcile" => reconcile::run(arguments),
        "alert" => alerts::run(arguments),
        "token" => tokens::run(arguments),
        "stats" => messages::stats(arguments),
        "tail" => messages::tail(arguments),
        "verify" => offline::verify(arguments),
        "salvage" => offline::salvage(arguments),
        "export" => transfer::export(arguments),
        "import" => transfer::import(arguments),
        "sink" => sink::run(arguments),
        "bench" => bench::run(arguments),
        "completions" => pages::completions(arguments),
        "man" => pages::man(arguments),
        other => Err(Fail::new(USAGE, format!("unknown verb {other:?}"))),
    }
}

/// The table of verbs.
fn command() -> Command {
    Command::new("goniec")
        .about("Registry and delivery engine between business systems")
        .version(env!("CARGO_PKG_VERSION"))
        .arg_required_else_help(true)
        .after_help("Exit codes: 0 done, 1 the answer is no, 2 usage or configuration, 3 the node cannot be reached, 4 the store failed.")
        .subcommand(serve_verb())
        .subcommand(demo::verb())
        .subcommand(Command::new("check").about("Reads the configuration and says what is wrong").arg(config()))
        .subcommand(send_verb())
        .subcommand(filtered(remote("ls", "Lists messages, newest first")).arg(
            option("limit", "N", "At most so many").default_value("50").value_parser(clap::value_parser!(u64).range(1..)),
        ))
        .subcommand(remote("show", "Shows one message whole: life, attempts, revisions").arg(id()))
        .subcommands(key_verbs())
        .subcommand(
            acting("edit", "Gives a message a new body, or one field of many another value, and queues them again")
                .mut_arg("why", |why| why.required(true))
                .mut_arg("dry-run", |dry_run| dry_run.requires("field"))
                .mut_arg("rate", |rate| rate.requires("field"))
                .arg(option("file", "FILE", "Takes the body from a file instead of $EDITOR").short('f'))
                .arg(option("field", "POINTER", "The field, as /customer/phone").requires("to").conflicts_with("file"))
                .arg(option("to", "JSON", "The value that the field gets").requires("field"))
                .arg(option("from", "JSON", "Only where the field has this value now").requires("field")),
        )
        .subcommand(acting("resend", "Sends messages again").arg(
            option("at", "TIME", "now, next-cycle, or a time").default_value("now"),
        ))
        .subcommand(acting("cancel", "Gives messages up"))
        .subcommand(acting("hold", "Stops messages until they are released"))
        .subcommand(acting("release", "Lets held messages go on"))
        .subcommand(acting("rm", "Removes messages for good"))
        .subcommand(
            remote("resolve", "Answers an uncertain message: it arrived, or send it again")
                .arg(id())
                .arg(switch("delivered", "The destination has it").conflicts_with("resend"))
                .arg(switch("resend", "Send it again").required_unless_present("delivered"))
                .arg(option("why", "TEXT", "The reason, which is kept in the audit log")),
        )
        .subcommands(lane_verbs())
        .subcommands(std::iter::once(reconcile::verb()).chain(record_verbs()))
        .subcommand(token_verb())
        .subcommand(remote("stats", "Shows the node in figures"))
        .subcommand(filtered(remote("tail", "Follows transitions as they happen")))
        .subcommand(
            Command::new("verify")
                .about("Checks every record and index of a stopped registry")
                .arg(option("data", "DIR", "The registry; goniec-data by default"))
                .arg(switch("repair", "Builds anew what the messages and their statuses imply, and checks again")),
        )
        .subcommand(
            Command::new("salvage")
                .about("Carries what can be read of a damaged registry into a fresh one")
                .arg(Arg::new("dir").value_name("DIR").required(true).help("The damaged registry"))
                .arg(option("into", "DIR", "The fresh one; it must not exist or be empty").required(true)),
        )
        .subcommands(transfer::verbs())
        .subcommand(sink_verb())
        .subcommand(bench::verb())
        .subcommand(
            Command::new("completions").about("Prints the completions of a shell").arg(
                Arg::new("shell").required(true).value_parser(clap::value_parser!(clap_complete::Shell)),
            ),
        )
        .subcommand(
            Command::new("man")
                .about("Prints the manual page of a verb, or of the program")
                .arg(Arg::new("verb").value_name("VERB").help("The verb")),
        )
}

fn key_verbs() -> [Command; 2] {
    [
        remote("keys", "Lists what should be in sync and what is: each key of each destination, by its newest message")
            .arg(option("destination", "NAME", "The destination"))
            .arg(option("key", "KEY", "The business key; * at its end for any ending"))
            .arg(switch("stale", "Only those that are behind"))
            .arg(option("older-than", "TIME", "Only those that have been behind for longer, as 15m"))
            .arg(
                option("limit", "N", "At most so many")
                    .default_value("50")
                    .value_parser(clap::value_parser!(u64).range(1..)),
            ),
        remote("explain", "Tells the whole story of a business key over all destinations, and why something waits")
            .arg(Arg::new("key").value_name("KEY").required(true).help("The business key")),
    ]
}

fn lane_verbs() -> [Command; 6] {
    let cycle = Command::new("cycle")
        .about("Lists the timetables, or begins a cycle now")
        .arg_required_else_help(true)
        .subcommand_required(true)
        .subcommand(remote("list", "Lists the timetables, and when what waits for them goes, or a source is read"))
        .subcommand(
            remote("run", "Lets what waits for the next cycle of a destination go now, or reads a source now")
                .arg(destination().help("The destination or the source"))
                .arg(switch("yes", "Takes the first reading of a source, whatever it comes to")),
        );
    [
        remote("pause", "Sends nothing more to a destination; what comes in meanwhile is kept")
            .arg(destination())
            .arg(option("why", "TEXT", "The reason, which is kept")),
        remote("resume", "Lets a paused destination go on").arg(destination()),
        remote("destinations", "Lists the destinations: what waits where, and why nothing goes"),
        remote("sources", "Lists the systems that messages come from: how they stand, and when they are read"),
        remote("streams", "Lists the streams to and from other registries: how far each side is, and what is missing"),
        cycle,
    ]
}

fn record_verbs() -> [Command; 4] {
    let job = || Arg::new("job").value_name("JOB").required(true).help("The number of the job");
    let bulk = Command::new("bulk")
        .about("Lists, shows or cancels what is done to many messages at once")
        .arg_required_else_help(true)
        .subcommand_required(true)
        .subcommand(remote("list", "Lists the last jobs, newest first"))
        .subcommand(remote("show", "Shows one job, and how far it is").arg(job()))
        .subcommand(remote("cancel", "Cancels a job; what was done stays done").arg(job()));
    let audit = remote("audit", "Lists what people did, newest first, or checks that nobody changed that list")
        .arg(
            option("limit", "N", "At most so many")
                .default_value("50")
                .value_parser(clap::value_parser!(u64).range(1..)),
        )
        .arg(switch("verify", "Follows the chain of hashes from its beginning to its end"))
        .arg(option("head", "NUMBER:HASH", "An entry that was written down, which must be in it").requires("verify"));
    let incidents = remote("incidents", "Lists failures by destination and cause, those that failed last first")
        .arg(switch("all", "Those that are over, too"));
    let number = Arg::new("number").value_name("NUMBER").value_parser(clap::value_parser!(u64).range(1..));
    let alert = Command::new("alert")
        .about("Lists who is told of what, and tries whether they are")
        .arg_required_else_help(true)
        .subcommand_required(true)
        .subcommand(remote("list", "Lists the rules of alerts, and whether their channels work"))
        .subcommand(
            remote("test", "Tells by a rule that it is a test; exit 1 where nobody was told")
                .arg(number.help("The number of the rule; every rule without it")),
        );
    [incidents, bulk, audit, alert]
}

fn token_verb() -> Command {
    let name = || Arg::new("name").value_name("NAME").required(true).help("Its name, to which changes are ascribed");
    let roles = Role::ALL.map(Role::name);
    Command::new("token")
        .about(
            "Lists, makes and revokes the tokens that the node takes; needs one of the role admin where there are any",
        )
        .arg_required_else_help(true)
        .subcommand_required(true)
        .subcommand(remote("ls", "Lists the tokens, without what they are"))
        .subcommand(
            remote("new", "Makes a token, and prints it this once")
                .arg(name())
                .arg(option("role", "ROLE", "What its bearer may do").required(true).value_parser(roles))
                .arg(option(
                    "expires",
                    "TIME",
                    "Until when, as 90d or 2027-01-01T00:00:00Z; without, until it is revoked",
                )),
        )
        .subcommand(remote("rm", "Revokes a token, and ends its sessions").arg(name()))
}

fn serve_verb() -> Command {
    Command::new("serve")
        .about("Runs the node: ingest, delivery, administration")
        .arg(config())
        .arg(option("data", "DIR", "Where the registry is kept; goniec-data by default").env("GONIEC_STORE_DATA"))
        .arg(
            option("listen", "ADDR", "Where to listen; 127.0.0.1:8420 by default")
                .env("GONIEC_SERVER_LISTEN")
                .value_parser(clap::value_parser!(std::net::SocketAddr)),
        )
        .arg(token())
        .arg(option("to", "NAME=URL", "Adds a destination that takes messages by POST").action(ArgAction::Append))
}

fn send_verb() -> Command {
    remote("send", "Hands in one message, or one a line")
        .arg(Arg::new("destination").value_name("DESTINATION").required(true).help("Where to"))
        .arg(Arg::new("body").value_name("BODY").help("The body; - for standard input"))
        .arg(option("file", "FILE", "Takes the body from a file").short('f').conflicts_with("body"))
        .arg(option("key", "KEY", "The business key"))
        .arg(option("version", "NUMBER", "The version of the key's value").conflicts_with("ndjson"))
        .arg(option("type", "TYPE", "The type"))
        .arg(option("content-type", "TYPE", "The content type of the body"))
        .arg(option("not-before", "TIME", "Not sent before"))
        .arg(option("deadline", "TIME", "Given up after"))
        .arg(
            option("after", "KEY", "Waits until a message of this key has been delivered there; as often as needed")
                .action(ArgAction::Append),
        )
        .arg(option("idempotency-key", "KEY", "Makes a repetition recognisable"))
        .arg(switch("ndjson", "One message a line: an envelope where it has a body, else the body"))
}

fn sink_verb() -> Command {
    let number = || clap::value_parser!(u64);
    Command::new("sink")
        .about("A destination to test against, which can misbehave, and reports duplicates and gaps")
        .after_help(
            "A manner is a few words: `503 retry-after 30`, `reset at head`, `200 body '{\"ok\":false}' drip 1s`. A line of a script is a manner with \
             its conditions: `until 2m key order:* -> 503`. A request says it by the header `sink-do`. docs/sink.md has all words.",
        )
        .arg(option("listen", "ADDR", "Where to listen").default_value("127.0.0.1:9000"))
        .arg(option("script", "FILE", "Deals with requests by the rules of this file; the flags below hold where none fits"))
        .arg(option("do", "MANNER", "How every request is dealt with, as \"503 retry-after 30\""))
        .arg(option("latency", "TIME", "How long each answer takes").default_value("0ms"))
        .arg(option("fail", "RATE", "How many requests fail: 20%, or 0.2").default_value("0%"))
        .arg(option("status", "N", "What a failed request is answered").default_value("503"))
        .arg(option("reset", "RATE", "How many connections are reset in place of an answer").default_value("0%"))
        .arg(option("seed", "N", "From which those are drawn; 1, or what the script says").value_parser(number()))
        .arg(
            option("expect", "N", "Ends when so many messages came; exit 0 if none is missing and none came twice")
                .value_parser(number()),
        )
        .arg(option("ledger", "FILE", "Writes what it takes to a file, one JSON object a line"))
}

fn remote(name: &'static str, about: &'static str) -> Command {
    Command::new(name)
        .about(about)
        .arg(option("url", "URL", "The node").default_value("http://127.0.0.1:8420").env("GONIEC_URL"))
        .arg(token())
        .arg(switch("json", "One JSON object a line"))
}

fn destination() -> Arg {
    Arg::new("destination").value_name("DESTINATION").required(true).help("The destination")
}

fn filtered(command: Command) -> Command {
    command
        .arg(
            Arg::new("filter")
                .value_name("FILTER")
                .num_args(0..)
                .help("Words like state:failed to:erp key:sku-1* \"Kowalski\" since:2h"),
        )
        .arg(option("state", "STATE", "queued, sending, delivered, failed, abandoned"))
        .arg(option("destination", "NAME", "The destination"))
        .arg(option("key", "KEY", "The business key; * at its end for any ending"))
        .arg(option("type", "TYPE", "The type; * at its end for any ending"))
        .arg(option("reason", "REASON", "Why it was abandoned, or how it last failed"))
        .arg(option("remote", "ID", "What the destination calls it"))
        .arg(option("incident", "ID", "Undelivered by this incident"))
        .arg(option("text", "TEXT", "What stands somewhere in the body"))
        .arg(option("since", "TIME", "Accepted at or after"))
        .arg(option("until", "TIME", "Accepted before"))
}

fn acting(name: &'static str, about: &'static str) -> Command {
    filtered(remote(name, about))
        .mut_arg("filter", |arg| arg.value_name("ID|FILTER").help("Ids, or the words of a filter"))
        .arg(switch("yes", "Does not ask"))
        .arg(switch("dry-run", "Only says how many"))
        .arg(option("why", "TEXT", "The reason, which is kept in the audit log"))
        .arg(option("rate", "RATE", "With a filter: so many in so much time, as 100/1m"))
}

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help)
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).help(help).action(ArgAction::SetTrue)
}

fn token() -> Arg {
    option("token", "TOKEN", "The token that says who asks").env("GONIEC_TOKEN").hide_env_values(true)
}

fn config() -> Arg {
    option("config", "FILE", "The configuration, in TOML")
}

fn id() -> Arg {
    Arg::new("id").value_name("ID").required(true).help("The message")
}

fn text<'a>(arguments: &'a ArgMatches, name: &str) -> Option<&'a str> {
    arguments.try_get_one::<String>(name).ok().flatten().map(String::as_str)
}

/// What an option says that may be given several times.
fn texts<'a>(arguments: &'a ArgMatches, name: &str) -> impl Iterator<Item = &'a str> {
    let given = arguments.try_get_many::<String>(name).ok().flatten();
    given.into_iter().flatten().map(String::as_str)
}

/// Prints a line; a reader that has gone away ends the program quietly.
fn say(line: &str) -> Result<(), Fail> {
    let mut to = std::io::stdout().lock();
    writeln!(to, "{line}").map_err(|error| Fail::new(NO, format!("cannot write the output: {error}")))
}

/// Prints a value as one line of JSON, in which nothing steers a terminal.
fn say_json(value: &impl std::fmt::Display) -> Result<(), Fail> {
    say(&visible_json(&value.to_string()))
}

impl Fail {
    /// Says it on standard error: a line, and where there is one, a second line with what to do.
    fn print(&self) {
        let mut to = std::io::stderr().lock();
        drop(writeln!(to, "goniec: {}", visible(&self.line)));
        if let Some(hint) = self.hint.as_deref().filter(|hint| !hint.is_empty()) {
            drop(writeln!(to, "  {}", visible(hint)));
        }
    }

    fn new(code: u8, line: impl Into<String>) -> Fail {
        Fail { code, line: line.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Fail {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Error> for Fail {
    fn from(error: Error) -> Fail {
        let code = match &error {
            Error::Config(_) | Error::Invalid(_) | Error::After(_) => USAGE,
            // The directory, not the disk: another one can be named.
            Error::Store(crate::store::StoreError::Locked { .. } | crate::store::StoreError::Foreign(_)) => USAGE,
            Error::Store(_) => STORE,
            Error::NotFound(_)
            | Error::UnknownDestination { .. }
            | Error::TooLarge { .. }
            | Error::Refused { .. }
            | Error::Stale { .. }
            | Error::Conflict { .. }
            | Error::Overtaken { .. }
            | Error::Counted { .. }
            | Error::NoToken(_)
            | Error::Token { .. }
            | Error::Marked(_)
            | Error::Busy
            | Error::Stopping => NO,
        };
        Fail { code, line: error.to_string(), hint: error.hint() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_verbs_is_sound() {
        command().debug_assert();
    }
}
