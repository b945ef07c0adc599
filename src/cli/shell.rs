//! `completions` and `man`: what a shell and a reader of manuals want to know, made from the definition of the commands itself, so that
//! neither can leave one out. They look at no settings and no database.

use super::output::say;
use super::{Cli, Ending, Failure};
use clap::error::ErrorKind;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell that is to complete
    shell: Shell,
}

#[derive(Debug, Args)]
pub struct ManArgs {
    /// The page of one command; without it the page of liteferry
    command: Option<String>,
}

pub fn completions(args: &CompletionsArgs) -> Result<Ending, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut built(), NAME, &mut script);
    tell(script)
}

pub fn man(args: &ManArgs) -> Result<Ending, Failure> {
    let whole = built();
    let page = match &args.command {
        None => whole,
        Some(name) => match whole.find_subcommand(name) {
            Some(found) => found.clone(),
            None => {
                let unknown = format!("there is no command `{name}`");
                built().error(ErrorKind::InvalidSubcommand, unknown).exit()
            }
        },
    };
    let mut roff = Vec::new();
    Man::new(page).render(&mut roff).expect("memory takes what is written");
    tell(roff)
}

const NAME: &str = "liteferry";

/// With what all commands share handed down to each.
fn built() -> Command {
    let mut command = Cli::command();
    command.build();
    command
}

fn tell(made: Vec<u8>) -> Result<Ending, Failure> {
    say(&String::from_utf8(made).expect("names and summaries are UTF-8"))?;
    Ok(Ending::Well)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use clap::ValueEnum;

    #[test]
    fn every_shell_and_every_page_knows_every_command() {
        let whole = built();
        let names: Vec<&str> = whole.get_subcommands().map(Command::get_name).collect();
        assert!(names.contains(&"rollback") && names.contains(&"completions"), "{names:?}");
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut built(), NAME, &mut script);
            let script = String::from_utf8(script).unwrap();
            for name in &names {
                assert!(script.contains(name), "{shell} does not complete {name}");
            }
            assert!(script.contains("without-target"), "{shell} does not complete the options of rollback");
        }
        let mut page = Vec::new();
        Man::new(whole.clone()).render(&mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        for name in names {
            assert!(page.contains(&name.replace('-', "\\-")), "the page leaves out {name}");
        }
    }
}
