//! `config`: the settings in force, with where each came from; secrets are hidden.

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
        ConfigCommand::Check if shared.json => println!("{:#}", json!({ "success": true })),
        ConfigCommand::Check => println!("the settings are good"),
        ConfigCommand::Show if shared.json => {
            let all = settings.effective().iter().map(
                |setting| json!({ "key": setting.key, "value": setting.value, "origin": setting.origin }),
            );
            println!("{:#}", all.collect::<serde_json::Value>());
        }
        ConfigCommand::Show => {
            for setting in settings.effective() {
                println!("{} = {}  ({})", setting.key, setting.value, setting.origin);
            }
        }
    }
    Ok(Ending::Well)
}
