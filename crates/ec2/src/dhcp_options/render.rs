//! DHCP options as the API shows them.

use crate::noun::render_tags;
use api_ec2 as api;
use model::record::vpc::DhcpOptions;

pub fn dhcp_options(options: &DhcpOptions) -> api::DhcpOptions {
    let configurations = options.configuration.iter().map(|(key, values)| api::DhcpConfiguration {
        key: Some(key.clone()),
        values: Some(values.iter().map(|v| api::AttributeValue { value: Some(v.clone()) }).collect()),
    });
    api::DhcpOptions {
        owner_id: Some(options.account.to_string()),
        tags: render_tags(&options.tags),
        dhcp_options_id: Some(options.options.to_string()),
        dhcp_configurations: Some(configurations.collect()),
    }
}
