//! What a cloud carries, across its accounts and regions, as the operator's commands show it: made by the server, read by
//! `nube ps`, `nube status` and the metrics.

use control::Cloud;
use model::host::ObjectStatus;
use model::record::address::Address;
use model::record::instance::{Instance, Phase};
use model::record::network_interface::{NetworkInterface, PublicAddress};
use model::record::volume::{Life, Volume};
use model::{GiB, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What is wanted; the empty selection is everything but what has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    pub region: Option<String>,
    pub account: Option<String>,
    /// Terminated instances too.
    pub ended: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Inventory {
    /// When it was made, in milliseconds since 1970.
    pub at: i64,
    pub instances: Vec<InstanceLine>,
    pub volumes: Vec<VolumeLine>,
    pub addresses: Vec<AddressLine>,
}

impl Inventory {
    /// Fills in what only the host knows, by instance id.
    pub fn set_origins(&mut self, origins: &HashMap<String, String>) {
        for line in self.instances.iter_mut().filter(|line| line.state == "running") {
            line.origin = origins.get(&line.id).cloned();
        }
    }
}

/// How an object fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "status", content = "reason")]
pub enum Health {
    Ok,
    /// On its way to what was asked.
    Changing,
    /// What is tried for it fails, and is tried again.
    Failing(String),
    /// Its host's agent is away.
    Unknown,
    /// There is nothing to be well or ill.
    None,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct InstanceLine {
    pub id: String,
    pub name: Option<String>,
    pub account: String,
    pub region: String,
    pub zone: String,
    pub instance_type: String,
    pub image: String,
    pub key: Option<String>,
    pub state: String,
    pub state_reason: Option<String>,
    pub health: Health,
    pub private_address: Option<String>,
    pub public_address: Option<String>,
    /// How its machine was last started: `clone tpl-…`, or `cold:` and why it had to boot.
    #[serde(default)]
    pub origin: Option<String>,
    /// The latest start, in milliseconds since 1970.
    pub launched_at: i64,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct VolumeLine {
    pub id: String,
    pub name: Option<String>,
    pub account: String,
    pub region: String,
    pub zone: String,
    pub size_gib: u32,
    pub volume_type: String,
    pub state: String,
    pub health: Health,
    pub instance: Option<String>,
    pub device: Option<String>,
    pub created_at: i64,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct AddressLine {
    pub public_address: String,
    /// Elastic addresses have one.
    pub allocation: Option<String>,
    /// An elastic address may stand for none.
    pub private_address: Option<String>,
    pub account: String,
    pub region: String,
    pub interface: Option<String>,
    pub instance: Option<String>,
    pub health: Health,
}

/// What is tried and fails, by the id that it is tried for.
struct Failures<'a> {
    by_id: HashMap<&'a str, &'a str>,
    connected: bool,
}

impl<'a> Failures<'a> {
    fn of(unsettled: &'a [ObjectStatus], connected: bool) -> Self {
        let by_id = unsettled.iter().filter_map(|object| {
            let id = object.key.rsplit('/').next()?;
            Some((id, object.last_error.as_deref()?))
        });
        Self { by_id: by_id.collect(), connected }
    }

    fn health(&self, id: &str, at_rest: Health) -> Health {
        match (self.by_id.get(id), &at_rest) {
            (Some(error), _) => Health::Failing((*error).to_owned()),
            (None, Health::None) => Health::None,
            (None, _) if !self.connected => Health::Unknown,
            (None, _) => at_rest,
        }
    }
}

pub fn take(cloud: &Cloud, unsettled: &[ObjectStatus], selection: &Selection) -> Inventory {
    let failures = Failures::of(unsettled, cloud.host.is_connected());
    let wanted = |region: &str, account: &str| {
        selection.region.as_deref().is_none_or(|wanted| wanted == region)
            && selection.account.as_deref().is_none_or(|wanted| wanted == account)
    };
    let tables = cloud.view.read();
    let mut addresses = Vec::new();
    let mut of_instance: HashMap<String, (Option<String>, Option<String>)> = HashMap::new();
    for (region, interface) in tables.everywhere::<NetworkInterface>() {
        let attachment = interface.attachment.as_ref();
        if let Some(attachment) = attachment.filter(|attachment| attachment.device_index == 0) {
            let primary = interface.primary();
            let private = primary.map(|primary| primary.address.to_string());
            let private = private.or_else(|| interface.ipv6.first().map(ToString::to_string));
            let public = primary.and_then(|primary| primary.public.as_ref());
            let public = public.map(|public| public.address().to_string());
            of_instance.insert(attachment.instance.to_string(), (private, public));
        }
        let account = interface.account.to_string();
        if !wanted(region.as_str(), &account) {
            continue;
        }
        for private in &interface.addresses {
            let Some(public) = &private.public else { continue };
            let instance = attachment.map(|attachment| attachment.instance.to_string());
            let at_rest = if instance.is_some() { Health::Ok } else { Health::None };
            addresses.push(AddressLine {
                public_address: public.address().to_string(),
                allocation: match public {
                    PublicAddress::Automatic(_) => None,
                    PublicAddress::Elastic { allocation, .. } => Some(allocation.to_string()),
                },
                private_address: Some(private.address.to_string()),
                account: account.clone(),
                region: region.to_string(),
                interface: Some(interface.interface.to_string()),
                health: failures.health(instance.as_deref().unwrap_or_default(), at_rest),
                instance,
            });
        }
    }
    for (region, address) in tables.everywhere::<Address>() {
        let account = address.account.to_string();
        // The others were shown with their interfaces.
        if address.association.is_none() && wanted(region.as_str(), &account) {
            addresses.push(AddressLine {
                public_address: address.address.to_string(),
                allocation: Some(address.allocation.to_string()),
                private_address: None,
                account,
                region: region.to_string(),
                interface: None,
                instance: None,
                health: Health::None,
            });
        }
    }
    let mut instances = Vec::new();
    for (region, instance) in tables.everywhere::<Instance>() {
        let account = instance.account.to_string();
        if !wanted(region.as_str(), &account) || (instance.phase.is_terminated() && !selection.ended) {
            continue;
        }
        let id = instance.instance.to_string();
        let (private_address, public_address) = of_instance.remove(&id).unzip();
        instances.push(InstanceLine {
            health: failures.health(&id, health(instance.phase)),
            name: instance.tags.get("Name").cloned(),
            account,
            region: region.to_string(),
            zone: instance.zone.to_string(),
            instance_type: instance.instance_type.clone(),
            image: instance.image.to_string(),
            key: instance.key.as_ref().map(|key| key.name.clone()),
            state: instance.phase.name().to_owned(),
            state_reason: instance
                .reason
                .as_ref()
                .map(|reason| format!("{}: {}", reason.code, reason.message)),
            private_address: private_address.flatten(),
            public_address: public_address.flatten(),
            origin: None,
            launched_at: instance.launched_at.as_millis(),
            id,
        });
    }
    let mut volumes = Vec::new();
    for (region, volume) in tables.everywhere::<Volume>() {
        let account = volume.account.to_string();
        if wanted(region.as_str(), &account) {
            volumes.push(volume_line(region.to_string(), account, volume, &failures));
        }
    }
    drop(tables);
    instances.sort_by(|a, b| instance_order(a).cmp(&instance_order(b)));
    volumes.sort_by(|a, b| volume_order(a).cmp(&volume_order(b)));
    addresses.sort_by_key(|line| line.public_address.parse::<std::net::Ipv4Addr>().ok());
    Inventory { at: cloud.clock.now().as_millis(), instances, volumes, addresses }
}

fn volume_line(region: String, account: String, volume: &Volume, failures: &Failures<'_>) -> VolumeLine {
    let id = volume.volume.to_string();
    let GiB(size_gib) = volume.size();
    VolumeLine {
        health: failures.health(
            &id,
            match volume.life {
                Life::Ready => Health::Ok,
                Life::Creating | Life::Failed { .. } | Life::Deleting => Health::Changing,
            },
        ),
        id,
        name: volume.tags.get("Name").cloned(),
        account,
        region,
        zone: volume.zone.to_string(),
        size_gib,
        volume_type: volume.provision.volume_type.to_string(),
        state: volume.state_name().to_owned(),
        instance: volume.attachment.as_ref().map(|attachment| attachment.instance.to_string()),
        device: volume.attachment.as_ref().map(|attachment| attachment.device.clone()),
        created_at: volume.created_at.as_millis(),
    }
}

fn health(phase: Phase) -> Health {
    match phase {
        Phase::Running { .. } => Health::Ok,
        Phase::Pending | Phase::Stopping { .. } | Phase::ShuttingDown { .. } => Health::Changing,
        Phase::Stopped | Phase::Terminated { .. } => Health::None,
    }
}

/// Whatever has ended comes last; the rest by account and region, then by name, then by age. States come and go, so they do
/// not move a line that somebody is looking at.
fn instance_order(line: &InstanceLine) -> impl Ord + '_ {
    let name = line.name.as_deref();
    (
        line.state == "terminated",
        &line.account,
        &line.region,
        name.is_none(),
        name,
        line.launched_at,
        &line.id,
    )
}

fn volume_order(line: &VolumeLine) -> impl Ord + '_ {
    (
        &line.account,
        &line.region,
        line.instance.is_none(),
        &line.instance,
        &line.device,
        line.created_at,
        &line.id,
    )
}

/// How long ago something was when the inventory was made.
pub fn age(at: i64, then: i64) -> std::time::Duration {
    Timestamp::from_millis(at).since(Timestamp::from_millis(then))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing(key: &str) -> ObjectStatus {
        ObjectStatus {
            key: key.into(),
            last_error: Some("no room".into()),
            failures: 1,
            last_run: None,
            next_run: None,
        }
    }

    #[test]
    fn a_failure_is_known_by_the_id_that_its_key_ends_with() {
        let unsettled = [failing("instance/us-east-1/i-1"), failing("vol-2")];
        let failures = Failures::of(&unsettled, true);
        assert_eq!(failures.health("i-1", Health::Ok), Health::Failing("no room".into()));
        assert_eq!(failures.health("vol-2", Health::None), Health::Failing("no room".into()));
        assert_eq!(failures.health("i-3", Health::Changing), Health::Changing);
    }

    #[test]
    fn while_the_host_is_away_nobody_knows_how_a_machine_fares() {
        let failures = Failures::of(&[], false);
        assert_eq!(failures.health("i-1", Health::Ok), Health::Unknown);
        assert_eq!(failures.health("i-1", Health::None), Health::None);
    }
}
