//! What the clock does to EC2's records, by noun; used client tokens are forgotten after a day.

use crate::{
    byoip, instance, nat_gateway, snapshot, transfer, transit_gateway, vpc_endpoint, vpc_endpoint_service,
    vpc_peering_connection, vpn_connection,
};
use control::cloud::Mode;
use control::token::{KEPT, UsedToken};
use control::{Cloud, Record, Result, Sweep, Tables};
use model::{Region, Timestamp};
use std::sync::Arc;

/// How many records one transaction removes.
const BATCH: usize = 500;

pub fn sweeps() -> Vec<Sweep> {
    vec![
        Sweep::new("terminated-instances", async |cloud| instance::sweep::instances(&cloud).await),
        Sweep::new("client-tokens", async |cloud| tokens(&cloud).await),
        Sweep::new("stuck-detachments", async |cloud| instance::sweep::detachments(&cloud).await),
        Sweep::new("peerings", async |cloud| vpc_peering_connection::sweep(&cloud).await),
        Sweep::new("byoip-cidrs", async |cloud| byoip::sweep(&cloud).await),
        Sweep::new("nat-gateways", async |cloud| nat_gateway::sweep(&cloud).await),
        Sweep::new("vpc-endpoints", async |cloud| vpc_endpoint::sweep(&cloud).await),
        Sweep::new("vpc-endpoint-services", async |cloud| vpc_endpoint_service::sweep(&cloud).await),
        Sweep::new("transit-gateways", async |cloud| transit_gateway::sweep(&cloud).await),
        Sweep::new("vpns", async |cloud| vpn_connection::sweep(&cloud).await),
        Sweep::new("vpn-tunnels", async |cloud| vpn_connection::observe(&cloud).await),
        Sweep::new("restored-snapshots", async |cloud| snapshot::tier::sweep(&cloud).await),
        Sweep::new("transfers", async |cloud| transfer::sweep(&cloud).await),
        Sweep::new("fast-restores", async |cloud| snapshot::fast::sweep(&cloud).await),
    ]
}

/// Removes the client tokens that are no longer remembered.
pub async fn tokens(cloud: &Arc<Cloud>) -> Result<()> {
    remove::<UsedToken>(cloud, |token, now| now.since(token.at) > KEPT).await
}

/// Removes the records that are over.
pub async fn remove<R: Record>(cloud: &Arc<Cloud>, over: fn(&R, Timestamp) -> bool) -> Result<()> {
    let now = cloud.clock.now();
    let faded: Vec<(Region, R::Id)> = {
        let tables: &Tables = &cloud.view.read();
        let over = tables.everywhere::<R>().filter(|(_, record)| over(record, now));
        over.map(|(region, record)| (region.clone(), record.id())).collect()
    };
    for batch in faded.chunks(BATCH) {
        cloud
            .transact(Mode::Shared, |txn| {
                for (region, id) in batch {
                    if txn.get::<R>(region, id).is_some_and(|record| over(&record, now)) {
                        txn.delete::<R>(region, id);
                    }
                }
                Ok(())
            })
            .await?;
    }
    Ok(())
}
