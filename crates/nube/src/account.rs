//! Accounts: who owns what in a cloud. Each has a root access key, and is otherwise made of what is recorded under it.
//!
//! `nube account create` asks the running server, through the operator's socket, for a new account; its secret is shown
//! once. The account's default VPC and the rest are made when it is first used.

use crate::admin::{self, Question};
use crate::cli::{Account, AccountCommand};
use crate::cloud_files::{CloudDir, Credentials, random_bits, random_secret};
use crate::terminal;
use anyhow::{Context as _, Result};
use control::{Cloud, Txn};
use control::cloud::Mode;
use model::record::access_key::{AccessKey, Secret};
use model::{AccessKeyId, AccountId, Region};
use std::process::ExitCode;
use std::sync::Arc;

pub fn run(arguments: &Account) -> Result<ExitCode> {
    match &arguments.command {
        AccountCommand::Create { data, json } => {
            let dir = CloudDir::existing(&data.data)?;
            let made: Credentials = admin::ask(&dir, &Question::CreateAccount)?;
            if *json {
                terminal::json(&serde_json::to_value(&made)?);
            } else {
                terminal::say(format_args!("# Account {}; the secret is not shown again.", made.account));
                terminal::say("unset AWS_PROFILE AWS_SESSION_TOKEN");
                terminal::say(format_args!("export AWS_ACCESS_KEY_ID='{}'", made.access_key_id));
                terminal::say(format_args!("export AWS_SECRET_ACCESS_KEY='{}'", made.secret_access_key));
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Makes an account with a number that none has.
pub async fn create(cloud: &Arc<Cloud>) -> Result<Credentials> {
    let account = loop {
        // No leading zero: the operator's own account, and what others make of twelve digits, stay apart.
        let number = 100_000_000_000 + random_bits()? % 900_000_000_000;
        let account = AccountId::from_number(u64::try_from(number).context("twelve digits fit")?);
        if !cloud.view.read().everywhere::<AccessKey>().any(|(_, key)| key.account == account) {
            break account;
        }
    };
    let credentials = Credentials {
        access_key_id: AccessKeyId::from_entropy("AKIA", random_bits()?),
        secret_access_key: random_secret()?,
        account,
    };
    ensure_key(cloud, &credentials).await?;
    Ok(credentials)
}

/// Stores an account's root access key, unless it is there.
pub async fn ensure_key(cloud: &Arc<Cloud>, credentials: &Credentials) -> Result<()> {
    let written = cloud.transact(Mode::Shared, |txn| {
        put_key(cloud, txn, credentials);
        Ok(())
    });
    written
        .await
        .map_err(|error| anyhow::anyhow!("cannot store the access key of {}: {error}", credentials.account))
}

/// [`ensure_key`] within a transaction.
pub fn put_key(cloud: &Cloud, txn: &mut Txn<'_>, credentials: &Credentials) {
    let known = txn.get::<AccessKey>(&Region::global(), &credentials.access_key_id);
    if known.is_some_and(|key| key.secret.expose() == credentials.secret_access_key) {
        return;
    }
    txn.put(
        &Region::global(),
        AccessKey {
            access_key: credentials.access_key_id.clone(),
            secret: Secret::new(credentials.secret_access_key.clone()),
            account: credentials.account,
            principal: format!("arn:aws:iam::{}:root", credentials.account),
            user_id: credentials.account.to_string(),
            created_at: cloud.clock.now(),
            session: None,
        },
    );
}
