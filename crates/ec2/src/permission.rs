//! Who may use an image or a snapshot: the changes of its permissions as both operations that change them carry them.
//!
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifySnapshotAttribute.html>,
//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_ModifyImageAttribute.html>

use crate::errors::{client, invalid_parameter_value};
use control::{Context, Result};
use model::AccountId;
use std::collections::BTreeSet;

/// Somebody who gains or loses a permission, or is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    Everybody,
    Account(AccountId),
}

impl Whom {
    /// As describe calls name them: `all`, `self`, or an account's number.
    pub fn parse(ctx: &Context, text: &str) -> Result<Self> {
        match text {
            "all" => Ok(Self::Everybody),
            "self" => Ok(Self::Account(ctx.account())),
            other => account(other).map(Self::Account),
        }
    }
}

pub fn account(text: &str) -> Result<AccountId> {
    let shown = || text.chars().take(64).collect::<String>();
    AccountId::parse(text)
        .ok_or_else(|| client("InvalidUserID.Malformed", format!("Invalid user id: \"{}\"", shown())))
}

pub fn group(name: &str) -> Result<Whom> {
    if name == "all" {
        return Ok(Whom::Everybody);
    }
    let shown: String = name.chars().take(64).collect();
    Err(invalid_parameter_value(format!("Invalid value '{shown}' for the group: only 'all' is one.")))
}

/// What one call changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Change {
    add: Vec<Whom>,
    remove: Vec<Whom>,
}

impl Change {
    /// Out of what is added and removed by name, and of the older form: one operation for lists of accounts and groups.
    pub fn parse(
        add: Vec<Whom>,
        remove: Vec<Whom>,
        operation: Option<&str>,
        users: Option<&[String]>,
        groups: Option<&[String]>,
    ) -> Result<Self> {
        let mut change = Self { add, remove };
        let users = users.unwrap_or_default().iter().map(|user| account(user).map(Whom::Account));
        let groups = groups.unwrap_or_default().iter().map(|name| group(name));
        let listed = users.chain(groups).collect::<Result<Vec<_>>>()?;
        match operation {
            Some("remove") => change.remove.extend(listed),
            Some("add") => change.add.extend(listed),
            Some(other) => {
                let shown: String = other.chars().take(64).collect();
                return Err(invalid_parameter_value(format!(
                    "Value ({shown}) for parameter operationType is invalid."
                )));
            }
            None if listed.is_empty() => {}
            None => return Err(crate::errors::missing_parameter("operationType")),
        }
        Ok(change)
    }

    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.remove.is_empty()
    }

    /// Whether it lets everybody in.
    pub fn makes_public(&self) -> bool {
        self.add.contains(&Whom::Everybody)
    }

    /// Whether it lets anybody in.
    pub fn adds(&self) -> bool {
        !self.add.is_empty()
    }

    pub fn apply(&self, everybody: &mut bool, accounts: &mut BTreeSet<AccountId>) {
        for whom in &self.add {
            match whom {
                Whom::Everybody => *everybody = true,
                Whom::Account(account) => drop(accounts.insert(*account)),
            }
        }
        for whom in &self.remove {
            match whom {
                Whom::Everybody => *everybody = false,
                Whom::Account(account) => drop(accounts.remove(account)),
            }
        }
    }
}
