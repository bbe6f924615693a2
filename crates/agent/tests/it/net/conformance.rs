//! The conformance suite with real networks; machines and volumes are the simulator's.

use super::world::{on_a_host, unique};
use crate::conformance::{self, TestHost};
use agent::host::linux::net::{LinuxNet, purge};
use agent::host::sim::{SimConfig, SimHost};
use agent::host::{Block, Net, Result, Standing, Tap, Vmm};
use model::clock::SystemClock;
use model::host::{InterfaceDesired, SecurityGroupDesired, VpcDesired};
use model::{NetworkInterfaceId, SecurityGroupId, VpcId};
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Real ports, held open as a machine would. The simulator hears of everything too, as its machines ask it for their ports.
struct Held {
    net: LinuxNet,
    sim: SimHost,
    ports: Mutex<BTreeMap<NetworkInterfaceId, OwnedFd>>,
}

impl Net for Held {
    async fn tunnels(&self) -> agent::host::Result<agent::host::Tunnels> {
        self.net.tunnels().await
    }

    async fn ensure_vpc(&self, vpc: &VpcDesired) -> Result<()> {
        self.sim.ensure_vpc(vpc).await?;
        self.net.ensure_vpc(vpc).await
    }
    async fn remove_vpc(&self, vpc: VpcId) -> Result<()> {
        self.sim.remove_vpc(vpc).await?;
        self.net.remove_vpc(vpc).await
    }
    async fn ensure_security_group(&self, group: &SecurityGroupDesired) -> Result<()> {
        self.sim.ensure_security_group(group).await?;
        self.net.ensure_security_group(group).await
    }
    async fn remove_security_group(&self, group: SecurityGroupId) -> Result<()> {
        self.sim.remove_security_group(group).await?;
        self.net.remove_security_group(group).await
    }
    async fn open_port(&self, interface: &InterfaceDesired) -> Result<Tap> {
        self.sim.open_port(interface).await?;
        let mut tap = self.net.open_port(interface).await?;
        if let Some(fd) = tap.fd.take() {
            self.ports.lock().unwrap().insert(interface.interface, fd);
        }
        Ok(tap)
    }
    async fn ensure_port(&self, interface: &InterfaceDesired) -> Result<()> {
        self.sim.ensure_port(interface).await?;
        self.net.ensure_port(interface).await
    }
    async fn remove_port(&self, interface: NetworkInterfaceId) -> Result<()> {
        self.sim.remove_port(interface).await?;
        self.net.remove_port(interface).await
    }
    async fn standing(&self) -> Result<Standing> {
        self.net.standing().await
    }
}

struct Purge(model::CloudTag);

impl Drop for Purge {
    fn drop(&mut self) {
        purge(&self.0).unwrap();
    }
}

struct Half {
    sim: SimHost,
    net: Held,
}

impl TestHost for Half {
    fn vmm(&self) -> &impl Vmm {
        &self.sim
    }
    fn net(&self) -> &impl Net {
        &self.net
    }
    fn block(&self) -> &impl Block {
        &self.sim
    }
    async fn kill(&self, instance: model::InstanceId) {
        self.sim.kill(instance);
    }
}

fn on_a_real_network(test: impl AsyncFn(&Half) + Send + 'static) {
    on_a_host(|world| async move {
        let config =
            SimConfig { boot_time: Duration::ZERO, shutdown_time: Duration::ZERO, ..SimConfig::default() };
        let cloud = agent::host::linux::net::LinuxNetConfig {
            cloud: model::CloudTag::from_entropy(unique()),
            state_dir: world.config.state_dir.join("conformance"),
            byoip: Vec::new(),
            gateway_services: Vec::new(),
            public_pool: "198.19.0.0/24".parse().unwrap(),
            ipv6_pool: "fd12:3456:7800::/40".parse().unwrap(),
            ..world.config.clone()
        };
        let sim = SimHost::new(config, Arc::new(SystemClock));
        let net = LinuxNet::open(cloud.clone()).await.unwrap();
        let host = Half { net: Held { net, sim: sim.clone(), ports: Mutex::default() }, sim };
        let _purged_in_the_end = Purge(cloud.cloud);
        test(&host).await;
    });
}

#[test]
fn an_unknown_machine_is_absent_and_its_end_and_removal_succeed() {
    on_a_real_network(conformance::an_unknown_machine_is_absent_and_its_end_and_removal_succeed);
}

#[test]
fn a_started_machine_runs_until_it_is_ended() {
    on_a_real_network(conformance::a_started_machine_runs_until_it_is_ended);
}

#[test]
fn a_killed_machine_is_absent_and_can_be_started_again() {
    on_a_real_network(conformance::a_killed_machine_is_absent_and_can_be_started_again);
}

#[test]
fn ensuring_twice_is_ensuring_once() {
    on_a_real_network(conformance::ensuring_twice_is_ensuring_once);
}

#[test]
fn a_port_that_is_not_there_cannot_be_ensured() {
    on_a_real_network(conformance::a_port_that_is_not_there_cannot_be_ensured);
}
