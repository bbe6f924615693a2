//! Every kind of resource that has tags. A new noun is one line here.

use super::Kind;
use crate::errors::SECURITY_GROUP_RULE;
use control::{Arn, Context, Tables, Touched};
use model::record::address::Address;
use model::record::byoip::ByoipCidr;
use model::record::flow_log::FlowLog;
use model::record::image::Image;
use model::record::instance::Instance;
use model::record::key_pair::KeyPair;
use model::record::nat_gateway::NatGateway;
use model::record::network_insights::{NetworkInsightsAnalysis, NetworkInsightsPath};
use model::record::network_interface::NetworkInterface;
use model::record::prefix_list::PrefixList;
use model::record::security_group::{SecurityGroup, SecurityGroupRule};
use model::record::snapshot::Snapshot;
use model::record::traffic_mirror::{
    TrafficMirrorFilter, TrafficMirrorFilterRule, TrafficMirrorSession, TrafficMirrorTarget,
};
use model::record::transfer::{ExportImageTask, ImportImageTask, ImportSnapshotTask};
use model::record::transit_gateway::{TransitGateway, TransitGatewayAttachment, TransitGatewayRouteTable};
use model::record::volume::Volume;
use model::record::vpc::{
    DhcpOptions, EgressOnlyInternetGateway, InternetGateway, NetworkAcl, RouteTable, Subnet,
    SubnetCidrReservation, Vpc,
};
use model::record::vpc_endpoint::VpcEndpoint;
use model::record::vpc_endpoint_service::VpcEndpointService;
use model::record::vpc_peering_connection::VpcPeeringConnection;
use model::record::vpn::{CustomerGateway, VpnConnection, VpnGateway};
use model::{
    AllocationId, CustomerGatewayId, DhcpOptionsId, EgressOnlyInternetGatewayId, ExportImageTaskId,
    FlowLogId, ImageId, ImportImageTaskId, ImportSnapshotTaskId, InstanceId, InternetGatewayId, KeyPairId,
    NatGatewayId, NetworkAclId, NetworkInsightsAnalysisId, NetworkInsightsPathId, NetworkInterfaceId,
    PrefixListId, PublicIpv4PoolId, RouteTableId, SecurityGroupId, SecurityGroupRuleId, SnapshotId,
    SubnetCidrReservationId, SubnetId, TrafficMirrorFilterId, TrafficMirrorFilterRuleId,
    TrafficMirrorSessionId, TrafficMirrorTargetId, TransitGatewayAttachmentId, TransitGatewayId,
    TransitGatewayRouteTableId, VolumeId, VpcEndpointId, VpcEndpointServiceId, VpcId, VpcPeeringConnectionId,
    VpnConnectionId, VpnGatewayId,
};
use std::sync::Arc;

pub(super) static KINDS: [Kind; 39] = [
    Kind::of::<Address>(AllocationId::PREFIX),
    Kind::of::<ByoipCidr>(PublicIpv4PoolId::PREFIX),
    Kind::of::<CustomerGateway>(CustomerGatewayId::PREFIX),
    Kind::of::<DhcpOptions>(DhcpOptionsId::PREFIX),
    Kind::of::<EgressOnlyInternetGateway>(EgressOnlyInternetGatewayId::PREFIX),
    Kind::of::<ExportImageTask>(ExportImageTaskId::PREFIX),
    Kind::of::<FlowLog>(FlowLogId::PREFIX),
    Kind::of::<Image>(ImageId::PREFIX),
    Kind::of::<ImportImageTask>(ImportImageTaskId::PREFIX),
    Kind::of::<ImportSnapshotTask>(ImportSnapshotTaskId::PREFIX),
    Kind::of::<Instance>(InstanceId::PREFIX),
    Kind::of::<InternetGateway>(InternetGatewayId::PREFIX),
    Kind::of::<KeyPair>(KeyPairId::PREFIX),
    Kind::of::<NatGateway>(NatGatewayId::PREFIX),
    Kind::of::<NetworkAcl>(NetworkAclId::PREFIX),
    Kind::of::<NetworkInsightsAnalysis>(NetworkInsightsAnalysisId::PREFIX),
    Kind::of::<NetworkInsightsPath>(NetworkInsightsPathId::PREFIX),
    Kind::of::<NetworkInterface>(NetworkInterfaceId::PREFIX),
    Kind::of::<PrefixList>(PrefixListId::PREFIX),
    Kind::of::<RouteTable>(RouteTableId::PREFIX),
    Kind::of::<SecurityGroup>(SecurityGroupId::PREFIX),
    SECURITY_GROUP_RULES,
    Kind::of::<Snapshot>(SnapshotId::PREFIX),
    Kind::of::<Subnet>(SubnetId::PREFIX),
    Kind::of::<SubnetCidrReservation>(SubnetCidrReservationId::PREFIX),
    Kind::of::<TrafficMirrorFilter>(TrafficMirrorFilterId::PREFIX),
    Kind::of::<TrafficMirrorFilterRule>(TrafficMirrorFilterRuleId::PREFIX),
    Kind::of::<TrafficMirrorSession>(TrafficMirrorSessionId::PREFIX),
    Kind::of::<TrafficMirrorTarget>(TrafficMirrorTargetId::PREFIX),
    Kind::of::<TransitGateway>(TransitGatewayId::PREFIX),
    Kind::of::<TransitGatewayAttachment>(TransitGatewayAttachmentId::PREFIX),
    Kind::of::<TransitGatewayRouteTable>(TransitGatewayRouteTableId::PREFIX),
    Kind::of::<Volume>(VolumeId::PREFIX),
    Kind::of::<Vpc>(VpcId::PREFIX),
    Kind::of::<VpcEndpoint>(VpcEndpointId::PREFIX),
    Kind::of::<VpcEndpointService>(VpcEndpointServiceId::PREFIX),
    Kind::of::<VpcPeeringConnection>(VpcPeeringConnectionId::PREFIX),
    Kind::of::<VpnConnection>(VpnConnectionId::PREFIX),
    Kind::of::<VpnGateway>(VpnGatewayId::PREFIX),
];

/// Rules live inside their group's record.
const SECURITY_GROUP_RULES: Kind = Kind {
    prefix: SecurityGroupRuleId::PREFIX,
    resource_type: "security-group-rule",
    touched: |ctx, tables, id| {
        let rule = SecurityGroupRuleId::parse(id).ok()?;
        let group = group_of(ctx, tables, rule)?;
        let arn = Arn::new("ec2", &ctx.region, group.account, "security-group-rule", rule);
        let tags = group.rules.iter().find(|r| r.rule == rule).map(|r| &r.tags);
        Some(tags.map_or_else(|| Touched::new(arn.clone()), |tags| Touched::new(arn.clone()).tagged(tags)))
    },
    edit: |ctx, txn, id, edit| {
        let rule = SecurityGroupRuleId::parse(id).map_err(|_| SECURITY_GROUP_RULE.malformed(id))?;
        let missing = || SECURITY_GROUP_RULE.not_found(id);
        let group = group_of(ctx, txn.tables(), rule).map(|group| group.group).ok_or_else(missing)?;
        let group = txn.get::<SecurityGroup>(&ctx.region, &group).ok_or_else(missing)?;
        let mut group = SecurityGroup::clone(&group);
        let found = group.rules.iter_mut().find(|r| r.rule == rule).ok_or_else(missing)?;
        edit(&mut found.tags)?;
        txn.put(&ctx.region, group);
        Ok(())
    },
    list: |ctx, tables| {
        let shown = |rule: &'_ SecurityGroupRule| rule.rule.to_string();
        tables
            .find::<SecurityGroup>(&ctx.region, "account", ctx.account())
            .flat_map(move |group| group.rules.iter().map(move |rule| (shown(rule), &rule.tags)))
            .collect()
    },
};

fn group_of<'a>(
    ctx: &'a Context,
    tables: &'a Tables,
    rule: SecurityGroupRuleId,
) -> Option<&'a Arc<SecurityGroup>> {
    tables.find::<SecurityGroup>(&ctx.region, "rule", rule).next().filter(|g| g.account == ctx.account())
}
