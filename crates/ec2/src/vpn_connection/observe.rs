//! How tunnels are: the host is asked, and what has changed is written down.

use control::cloud::Mode;
use control::{Cloud, Result};
use model::host::{Reply, Request, TunnelSeen};
use model::record::vpn::{TunnelStatus, VpnConnection, VpnTunnel};
use model::{Region, VpnConnectionId};
use std::sync::Arc;

fn status(seen: &[TunnelSeen], connection: VpnConnectionId, tunnel: &VpnTunnel) -> TunnelStatus {
    let own = seen.iter().find(|seen| seen.connection == connection && seen.outside == tunnel.outside);
    match own {
        Some(seen) if seen.up => TunnelStatus::Up,
        Some(seen) if seen.ike_up => TunnelStatus::IkeUp,
        Some(_) | None => TunnelStatus::Down,
    }
}

/// Asks the host once, if there is any tunnel. While it is away the last word stands.
pub async fn observe(cloud: &Arc<Cloud>) -> Result<()> {
    let any = cloud.view.read().everywhere::<VpnConnection>().any(|(_, connection)| connection.is_there());
    if !any {
        return Ok(());
    }
    let Ok(Reply::Tunnels { tunnels: seen, .. }) = cloud.host.request(Request::Tunnels).await else {
        return Ok(());
    };
    let news = |connection: &VpnConnection| {
        let changed = |tunnel: &VpnTunnel| status(&seen, connection.connection, tunnel) != tunnel.status;
        connection.is_there() && connection.tunnels.iter().any(changed)
    };
    let changed: Vec<(Region, VpnConnectionId)> = {
        let tables = cloud.view.read();
        let all = tables.everywhere::<VpnConnection>().filter(|(_, connection)| news(connection));
        all.map(|(region, connection)| (region.clone(), connection.connection)).collect()
    };
    let now = cloud.clock.now();
    for (region, id) in changed {
        cloud
            .transact(Mode::Shared, |txn| {
                let Some(connection) = txn.get::<VpnConnection>(&region, &id) else { return Ok(()) };
                let mut connection = VpnConnection::clone(&connection);
                for tunnel in &mut connection.tunnels {
                    let status = status(&seen, id, tunnel);
                    if status != tunnel.status {
                        (tunnel.status, tunnel.changed_at) = (status, now);
                    }
                }
                txn.put(&region, connection);
                Ok(())
            })
            .await?;
    }
    Ok(())
}
