//! An internet gateway as the API shows it.

use crate::noun::render_tags;
use api_ec2 as api;
use model::record::vpc::InternetGateway;

pub fn internet_gateway(gateway: &InternetGateway) -> api::InternetGateway {
    let attachment = gateway.vpc.map(|vpc| api::InternetGatewayAttachment {
        // A gateway has a word of its own for it.
        state: Some(api::AttachmentStatus::from("available")),
        vpc_id: Some(vpc.to_string()),
    });
    api::InternetGateway {
        attachments: Some(attachment.into_iter().collect()),
        internet_gateway_id: Some(gateway.gateway.to_string()),
        owner_id: Some(gateway.account.to_string()),
        tags: render_tags(&gateway.tags),
    }
}
