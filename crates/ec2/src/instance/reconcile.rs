//! Keeps the host's desired objects in step with the records.
//!
//! Dependencies first: before an instance is wished for, its VPC, groups and volumes are; after it needs one no longer,
//! that one is looked at again. A VPC or group is wished for while an attached interface is in it.

use super::{desired, render};
use crate::snapshot;
use control::reconcile::{Driver, Next, Reconciler};
use control::view::ChangedKey;
use control::{Cloud, Record, Tables};
use model::host::{Desired, ObjectKey};
use model::record::byoip::ByoipCidr;
use model::record::instance::{Instance, Phase};
use model::record::network_interface::NetworkInterface;
use model::record::prefix_list::PrefixList;
use model::record::security_group::SecurityGroup;
use model::record::snapshot::{Snapshot, Source};
use model::record::store_disk::StoreDisk;
use model::record::volume::{Life, Volume};
use model::record::vpc::{DhcpOptions, Vpc};
use model::record::vpc_endpoint::VpcEndpoint;
use model::record::vpc_endpoint_service::VpcEndpointService;
use model::record::vpn::VpnGateway;
use model::{
    InstanceId, NetworkInterfaceId, PrefixListId, Region, SecurityGroupId, SnapshotId, VolumeId,
    VpcEndpointId,
};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

/// One object of the host, and the region of its record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    pub region: Region,
    pub key: ObjectKey,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.region, self.key)
    }
}

/// What an instance stands on, in the order of the keys.
type Footing = Box<[ObjectKey]>;

/// The host's objects.
pub struct Objects {
    cloud: Arc<Cloud>,
    /// What each instance that the host holds stands on, so that what it leaves behind is looked at again.
    footing: Mutex<HashMap<(Region, InstanceId), Footing>>,
}

impl Objects {
    fn new(cloud: Arc<Cloud>) -> Self {
        Self { cloud, footing: Mutex::default() }
    }

    /// Brings the wish for one object, and for what it stands on, up to date.
    fn apply(&self, tables: &Tables, object: &Object) {
        let ObjectKey::Instance(id) = object.key else {
            self.set(tables, object);
            return;
        };
        let instance = tables.get::<Instance>(&object.region, &id);
        let footing = instance.map(|i| footing(tables, i)).unwrap_or_default();
        let at = |key| Object { region: object.region.clone(), key };
        for key in &footing {
            self.set(tables, &at(*key));
        }
        self.set(tables, object);
        let earlier = {
            let mut footings = self.footing.lock();
            let of = (object.region.clone(), id);
            if footing.is_empty() { footings.remove(&of) } else { footings.insert(of, footing.clone()) }
        };
        for key in earlier.iter().flatten().filter(|key| footing.binary_search(key).is_err()) {
            self.set(tables, &at(*key));
        }
    }

    fn set(&self, tables: &Tables, object: &Object) {
        let body = desired::object(&self.cloud.root, tables, &object.region, object.key);
        let host = &self.cloud.host;
        // Nobody knows of it and nobody should: unless its record waits for the host to say that it is gone.
        if body.is_none() && host.generation(object.key).is_none() && !awaits_removal(tables, object) {
            return;
        }
        host.set(Desired { key: object.key, generation: tables.revision(), body });
    }
}

/// What an instance needs on its host.
fn footing(tables: &Tables, instance: &Instance) -> Footing {
    if instance.phase.is_terminated() {
        return Footing::default();
    }
    let mut keys = vec![ObjectKey::Vpc(instance.vpc)];
    keys.extend(render::interfaces(tables, instance).map(|n| ObjectKey::Vpc(n.vpc)));
    let groups = render::interfaces(tables, instance).flat_map(|n| &n.groups);
    keys.extend(groups.map(|group| ObjectKey::SecurityGroup(*group)));
    keys.extend(instance.volumes.iter().map(|v| ObjectKey::Volume(v.volume)));
    keys.extend(instance.store.iter().map(|device| ObjectKey::Volume(device.disk)));
    // The host must know of what it is to capture during a reboot before it hears of the reboot.
    let region = &instance.zone.region;
    keys.extend(snapshot::awaiting_reboot(tables, region, instance.instance).map(ObjectKey::Snapshot));
    keys.sort_unstable();
    keys.dedup();
    keys.into()
}

/// A snapshot, and what it no longer needs once it is on its own.
fn concerned_by_snapshot(tables: &Tables, region: &Region, id: SnapshotId) -> Vec<Object> {
    let here = |key| Object { region: region.clone(), key };
    let mut objects = vec![here(ObjectKey::Snapshot(id))];
    let is_held = |region: &Region, id: &SnapshotId| {
        tables.get::<Snapshot>(region, id).is_some_and(|other| other.is_deleting())
    };
    match tables.get::<Snapshot>(region, &id).map(|snapshot| &snapshot.source) {
        Some(Source::Volume { volume, parent, .. }) => {
            if tables.get::<Volume>(region, volume).is_some_and(|v| v.life == Life::Deleting) {
                objects.push(here(ObjectKey::Volume(*volume)));
            }
            let held = parent.filter(|parent| is_held(region, parent));
            objects.extend(held.map(|parent| here(ObjectKey::Snapshot(parent))));
        }
        Some(Source::Copy { snapshot, region: from }) if is_held(from, snapshot) => {
            objects.push(Object { region: from.clone(), key: ObjectKey::Snapshot(*snapshot) });
        }
        Some(Source::Direct(direct)) => {
            let held = direct.parent.filter(|parent| is_held(region, parent));
            objects.extend(held.map(|parent| here(ObjectKey::Snapshot(parent))));
        }
        Some(Source::Copy { .. }) | None => {}
    }
    objects
}

/// An endpoint's VPC and that of its service, and every group of its own: those that the endpoint has left are among them.
fn of_endpoint(tables: &Tables, region: &Region, endpoint: &VpcEndpoint) -> Vec<Object> {
    let groups = tables.find::<SecurityGroup>(region, "vpc", endpoint.vpc);
    let groups = groups.map(|group| ObjectKey::SecurityGroup(group.group));
    let vpcs = crate::vpc_endpoint::concerned(tables, region, endpoint);
    let keys = vpcs.into_iter().map(ObjectKey::Vpc).chain(groups);
    keys.map(|key| Object { region: region.clone(), key }).collect()
}

fn awaits_removal(tables: &Tables, object: &Object) -> bool {
    match object.key {
        ObjectKey::Instance(id) => {
            let instance = tables.get::<Instance>(&object.region, &id);
            instance.is_some_and(|instance| matches!(instance.phase, Phase::ShuttingDown { .. }))
        }
        ObjectKey::Volume(id) => {
            tables.get::<Volume>(&object.region, &id).is_some_and(|v| v.life == Life::Deleting)
                || tables.get::<StoreDisk>(&object.region, &id).is_some_and(|disk| disk.ended)
        }
        ObjectKey::Snapshot(id) => {
            tables.get::<Snapshot>(&object.region, &id).is_some_and(|s| s.is_deleting())
        }
        ObjectKey::Vpc(_) | ObjectKey::SecurityGroup(_) => false,
    }
}

impl Reconciler for Objects {
    const NAME: &'static str = "host-objects";
    type Key = Object;

    fn all(&self, tables: &Tables) -> Vec<Object> {
        let mut keys = BTreeSet::new();
        for (region, instance) in tables.everywhere::<Instance>() {
            let object = |key| Object { region: region.clone(), key };
            keys.insert(object(ObjectKey::Instance(instance.instance)));
            keys.extend(footing(tables, instance).into_iter().map(object));
        }
        for (region, endpoint) in tables.everywhere::<VpcEndpoint>() {
            keys.extend(of_endpoint(tables, region, endpoint));
        }
        for (region, service) in tables.everywhere::<VpcEndpointService>() {
            keys.insert(Object { region: region.clone(), key: ObjectKey::Vpc(service.vpc) });
        }
        for (region, gateway) in tables.everywhere::<VpnGateway>() {
            let vpc = gateway.vpc.map(|vpc| Object { region: region.clone(), key: ObjectKey::Vpc(vpc) });
            keys.extend(vpc);
        }
        for (region, volume) in tables.everywhere::<Volume>() {
            keys.insert(Object { region: region.clone(), key: ObjectKey::Volume(volume.volume) });
        }
        for (region, disk) in tables.everywhere::<StoreDisk>() {
            keys.insert(Object { region: region.clone(), key: ObjectKey::Volume(disk.disk) });
        }
        for (region, snapshot) in tables.everywhere::<Snapshot>() {
            keys.insert(Object { region: region.clone(), key: ObjectKey::Snapshot(snapshot.snapshot) });
        }
        // What was wished for earlier and has no record any more.
        for ((region, instance), footing) in self.footing.lock().iter() {
            let object = |key| Object { region: region.clone(), key };
            keys.insert(object(ObjectKey::Instance(*instance)));
            keys.extend(footing.iter().copied().map(object));
        }
        keys.into_iter().collect()
    }

    fn concerns(&self, changed: &ChangedKey, tables: &Tables) -> Vec<Object> {
        let region = &changed.region;
        let keys: Vec<ObjectKey> = match changed.noun {
            Instance::NOUN => InstanceId::parse(&changed.id).map_or_else(
                |_| Vec::new(),
                |id| {
                    let volumes = tables.get::<Instance>(region, &id).into_iter().flat_map(|i| &i.volumes);
                    let volumes = volumes.filter_map(|device| tables.get::<Volume>(region, &device.volume));
                    let held = volumes.filter_map(|volume| snapshot::held_by(tables, volume));
                    held.map(ObjectKey::Snapshot).chain([ObjectKey::Instance(id)]).collect()
                },
            ),
            Volume::NOUN => VolumeId::parse(&changed.id).map_or_else(
                |_| Vec::new(),
                |id| {
                    let volume = tables.get::<Volume>(region, &id);
                    let held = volume.and_then(|volume| snapshot::held_by(tables, volume));
                    held.map(ObjectKey::Snapshot).into_iter().chain([ObjectKey::Volume(id)]).collect()
                },
            ),
            StoreDisk::NOUN => VolumeId::parse(&changed.id).map(ObjectKey::Volume).into_iter().collect(),
            Snapshot::NOUN => {
                let id = SnapshotId::parse(&changed.id).ok();
                return id.map(|id| concerned_by_snapshot(tables, region, id)).unwrap_or_default();
            }
            SecurityGroup::NOUN => SecurityGroupId::parse(&changed.id)
                .map(|id| vec![ObjectKey::SecurityGroup(id)])
                .unwrap_or_default(),
            VpcEndpoint::NOUN => {
                let id = VpcEndpointId::parse(&changed.id).ok();
                let endpoint = id.and_then(|id| tables.get::<VpcEndpoint>(region, &id));
                return endpoint.map(|e| of_endpoint(tables, region, e)).unwrap_or_default();
            }
            ByoipCidr::NOUN => crate::byoip::concerned(tables, region, &changed.id),
            // An interface that is gone went with a change of its instance.
            NetworkInterface::NOUN => NetworkInterfaceId::parse(&changed.id)
                .ok()
                .and_then(|id| tables.get::<NetworkInterface>(region, &id))
                .and_then(|interface| interface.attachment.as_ref())
                .map(|attachment| vec![ObjectKey::Instance(attachment.instance)])
                .unwrap_or_default(),
            _ => {
                let mut keys: Vec<ObjectKey> =
                    crate::vpc::concerned_by(changed, tables).into_iter().map(ObjectKey::Vpc).collect();
                if changed.noun == PrefixList::NOUN
                    && let Ok(list) = PrefixListId::parse(&changed.id)
                {
                    let groups = tables.find::<SecurityGroup>(region, "prefix-list", list);
                    keys.extend(groups.map(|group| ObjectKey::SecurityGroup(group.group)));
                }
                // The domain that DHCP hands out is part of each instance.
                if matches!(changed.noun, Vpc::NOUN | DhcpOptions::NOUN) {
                    keys.extend(tables.all::<Instance>(region).map(|i| ObjectKey::Instance(i.instance)));
                }
                keys
            }
        };
        keys.into_iter().map(|key| Object { region: region.clone(), key }).collect()
    }

    async fn reconcile(&self, object: &Object) -> Result<Next, String> {
        let tables = self.cloud.view.read();
        self.apply(&tables, object);
        Ok(Next::Idle)
    }
}

/// Wishes for everything that the records speak of, tells the host that this was all, and follows the changes from then
/// on. Must be called within a runtime, once per server.
pub fn start(cloud: Arc<Cloud>) -> Arc<Driver<Objects>> {
    let objects = Objects::new(Arc::clone(&cloud));
    {
        let tables = cloud.view.read();
        for object in objects.all(&tables) {
            objects.apply(&tables, &object);
        }
    }
    cloud.host.complete();
    Driver::start(cloud, objects)
}
