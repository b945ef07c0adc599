//! `config`: the settings in force, with where each came from; secrets are hidden.

use super::output::say;
use super::session::load_settings;
use super::{Ending, Failure, Shared};
use clap::Subcommand;
use serde_json::json;

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting, its value and its origin
    Show,
    /// Say whether the settings are good
    Check,
}

pub fn config(shared: &Shared, command: &ConfigCommand) -> Result<Ending, Failure> {
    let settings = load_settings(shared)?;
    match command {
        ConfigCommand::Check if shared.json => say(&format!("{:#}\n", json!({ "success": true })))?,
        ConfigCommand::Check => say("the settings are good\n")?,
        ConfigCommand::Show if shared.json => {
            let all = settings.effective().iter().map(
                |setting| json!({ "key": setting.key, "value": setting.value, "origin": setting.origin }),
            );
            say(&format!("{:#}\n", all.collect::<serde_json::Value>()))?;
        }
        ConfigCommand::Show => {
            for setting in settings.effective() {
                say(&format!("{} = {}  ({})\n", setting.key, setting.value, setting.origin))?;
            }
        }
    }
    Ok(Ending::Well)
}
