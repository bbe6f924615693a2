//! Instance stores: which disks a run of an instance has.
//!
//! Types with NVMe have all of theirs, without device names, whatever a launch maps; of others a launch has those that it
//! maps. A disk is never smaller than the type says.
//! AWS: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/add-instance-store-volumes.html>
//! Differs: no instance has more than [`MOST`].

use crate::instance_type::InstanceType;
use model::GiB;
use model::record::instance::EphemeralMapping;

/// The most disks of an instance store: a machine's slots are for volumes and interfaces too.
pub const MOST: usize = 20;

/// One disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorePlan {
    /// `ephemeral` and this.
    pub number: u8,
    pub device: Option<String>,
    pub size: GiB,
    /// With a key that ends with the run.
    pub encrypted: bool,
}

/// The disks of the next run.
pub fn disks(kind: &InstanceType, mapped: &[EphemeralMapping]) -> Vec<StorePlan> {
    let Some(store) = kind.instance_store else { return Vec::new() };
    let (size, encrypted) = (size(store.gb_each), store.is_encrypted());
    let count = u8::try_from(store.disks).unwrap_or(u8::MAX);
    if store.is_nvme() {
        let all = (0..count).take(MOST);
        return all.map(|number| StorePlan { number, device: None, size, encrypted }).collect();
    }
    let mut disks: Vec<StorePlan> = Vec::new();
    for EphemeralMapping { device, number } in mapped {
        let is_new = *number < count && disks.iter().all(|disk| disk.number != *number);
        if is_new && disks.len() < MOST {
            disks.push(StorePlan { number: *number, device: Some(device.clone()), size, encrypted });
        }
    }
    disks
}

/// Disks are sold by powers of ten.
fn size(gb: u32) -> GiB {
    let bytes = u64::from(gb) * 1_000_000_000;
    GiB(u32::try_from(bytes.div_ceil(1 << 30)).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance_type::get;

    fn mapping(device: &str, number: u8) -> EphemeralMapping {
        EphemeralMapping { device: device.into(), number }
    }

    #[test]
    fn nvme_disks_are_there_whatever_is_mapped() {
        let kind = get("m5d.large").unwrap();
        let disks = super::disks(kind, &[]);
        assert_eq!(disks, [StorePlan { number: 0, device: None, size: GiB(70), encrypted: true }], "75 GB");
        assert_eq!(super::disks(kind, &[mapping("/dev/sdb", 0)]), disks);
        assert_eq!(super::disks(get("i3en.24xlarge").unwrap(), &[]).len(), 8);
        assert!(super::disks(get("m5.large").unwrap(), &[mapping("/dev/sdb", 0)]).is_empty());
    }

    #[test]
    fn other_disks_are_there_if_they_are_mapped() {
        let kind = get("d2.xlarge").unwrap();
        assert!(super::disks(kind, &[]).is_empty());
        let mapped =
            [mapping("/dev/sdb", 1), mapping("/dev/sdc", 1), mapping("/dev/sdd", 2), mapping("/dev/sde", 3)];
        let disks = super::disks(kind, &mapped);
        let named: Vec<_> = disks.iter().map(|disk| (disk.device.as_deref(), disk.number)).collect();
        assert_eq!(named, [(Some("/dev/sdb"), 1), (Some("/dev/sdd"), 2)], "each once, and it has three");
        let all: Vec<_> = (0..24).map(|number| mapping(&format!("/dev/xvd{number}"), number)).collect();
        assert_eq!(super::disks(get("d2.8xlarge").unwrap(), &all).len(), MOST);
    }
}
