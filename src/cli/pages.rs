//! The pages of the command line: manual pages, completions, and docs/cli.md, all from the table of verbs.
//!
//! # What it does not know
//!
//! What a verb does beyond what the table says.

use clap::ArgMatches;

use super::{Fail, NO, USAGE, command, text};

/// `man [VERB]`: the page of one verb, or of the program.
pub(super) fn man(arguments: &ArgMatches) -> Result<(), Fail> {
    let mut whole = command();
    // Gives every verb its full name, `goniec-send`.
    whole.build();
    let page = match text(arguments, "verb") {
        None => whole,
        Some(name) => whole.find_subcommand(name).cloned().ok_or_else(|| {
            Fail::new(USAGE, format!("there is no verb {name:?}")).hint("`goniec help` lists the verbs.")
        })?,
    };
    clap_mangen::Man::new(page).render(&mut std::io::stdout()).map_err(|error| Fail::new(NO, error.to_string()))
}

/// `completions SHELL`.
pub(super) fn completions(arguments: &ArgMatches) -> Result<(), Fail> {
    if let Some(shell) = arguments.get_one::<clap_complete::Shell>("shell") {
        clap_complete::generate(*shell, &mut command(), "goniec", &mut std::io::stdout());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    /// The text of docs/cli.md.
    fn reference() -> String {
        let mut whole = command();
        whole.build();
        let mut page =
            String::from("# Command line\n\nPrinted from the table of verbs; `goniec man VERB` says the same. ");
        page += &whole.get_after_help().map(ToString::to_string).unwrap_or_default();
        page += " Errors\nare one line on standard error and, where there is one, a second line with what to do.\n";
        for verb in whole.get_subcommands().filter(|verb| verb.get_name() != "help") {
            page += &section(verb.get_name(), verb);
            for part in verb.get_subcommands().filter(|part| part.get_name() != "help") {
                page += &section(&format!("{} {}", verb.get_name(), part.get_name()), part);
            }
        }
        page
    }

    fn section(name: &str, verb: &Command) -> String {
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        let usage = verb.clone().render_usage().to_string().replace("Usage: ", "").replace('\n', " ");
        let mut section = format!("\n## {name}\n\n{about}.\n\n```text\n{usage}\n```\n");
        let arguments: Vec<&Arg> = verb.get_arguments().filter(|argument| argument.get_id() != "help").collect();
        if !arguments.is_empty() {
            section += "\n| argument | what it says |\n|---|---|\n";
        }
        for argument in arguments {
            section += &row(argument);
        }
        section
    }

    fn row(argument: &Arg) -> String {
        let mut names: Vec<String> = argument.get_short().map(|short| format!("-{short}")).into_iter().collect();
        names.extend(argument.get_long().map(|long| format!("--{long}")));
        let values: Vec<String> =
            argument.get_value_names().unwrap_or_default().iter().map(ToString::to_string).collect();
        let name = match (names.is_empty(), argument.get_action().takes_values()) {
            (true, _) => values.first().cloned().unwrap_or_else(|| argument.get_id().to_string().to_uppercase()),
            (false, true) => format!("{} {}", names.join(", "), values.join(" ")),
            (false, false) => names.join(", "),
        };
        let mut says = argument.get_help().map(ToString::to_string).unwrap_or_default();
        if argument.get_action().takes_values() {
            for default in argument.get_default_values() {
                says += &format!("; default `{}`", default.to_string_lossy());
            }
        }
        if let Some(variable) = argument.get_env() {
            says += &format!("; environment `{}`", variable.to_string_lossy());
        }
        format!("| `{}` | {} |\n", name.replace('|', "\\|"), says.replace('|', "\\|"))
    }

    #[test]
    fn the_page_of_the_command_line_is_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/cli.md");
        if std::env::var_os("GONIEC_PRINT_DOCS").is_some() {
            std::fs::write(path, reference()).expect("writes");
        }
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            page == reference(),
            "docs/cli.md is stale: GONIEC_PRINT_DOCS=1 cargo test --lib the_page_of_the_command_line"
        );
    }
}
