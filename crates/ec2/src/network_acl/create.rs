//! `CreateNetworkAcl`: it has no entries, so it denies everything.

use super::{MAX_ACLS, render};
use crate::errors::client;
use crate::noun::{created, given_tags, hold, touched};
use api_ec2::{CreateNetworkAclRequest, CreateNetworkAclResult};
use control::{Context, Result, Tables, Touched, Txn};
use model::NetworkAclId;
use model::record::vpc::{NetworkAcl, Vpc};

pub fn touches(ctx: &Context, request: &CreateNetworkAclRequest, tables: &Tables) -> Vec<Touched> {
    let mut all = vec![created(ctx, "network-acl")];
    all.extend(touched::<Vpc>(ctx, tables, [&request.vpc_id]));
    all
}

pub fn create(
    ctx: &Context,
    request: &CreateNetworkAclRequest,
    txn: &mut Txn<'_>,
) -> Result<CreateNetworkAclResult> {
    let vpc = hold::<Vpc>(ctx, txn, &request.vpc_id)?.vpc;
    let tags = given_tags(request.tag_specifications.as_deref(), &["network-acl"])?;
    if txn.tables().find::<NetworkAcl>(&ctx.region, "vpc", vpc).count() >= MAX_ACLS {
        return Err(client(
            "NetworkAclLimitExceeded",
            format!("The maximum number of network ACLs in {vpc} has been reached."),
        ));
    }
    let acl = NetworkAcl {
        acl: NetworkAclId::from_entropy(ctx.bits()),
        account: ctx.account(),
        vpc,
        is_default: false,
        ingress: Vec::new(),
        egress: Vec::new(),
        associations: Vec::new(),
        tags: tags.into_values().next().unwrap_or_default(),
    };
    let shown = render::network_acl(&ctx.region, txn.tables(), &acl);
    txn.put(&ctx.region, acl);
    Ok(CreateNetworkAclResult { network_acl: Some(shown), client_token: request.client_token.clone() })
}
