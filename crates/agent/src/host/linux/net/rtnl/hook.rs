//! Programs at a link.

use super::super::netlink::{CREATE, EXCL, Message, REPLACE, as_u32, attr};
use super::{Rtnl, there};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

/// Where programs stand at a link, by the numbers of `linux/pkt_sched.h`, `linux/rtnetlink.h` and `linux/pkt_cls.h`.
const CLSACT: u32 = 0xffff;
const CLSACT_PARENT: u32 = 0xffff_fff1;
const CLSACT_INGRESS: u32 = 0xffff_fff2;
const CLSACT_EGRESS: u32 = 0xffff_fff3;
const FILTER: u32 = 1;
const FILTER_PRIORITY: u32 = 1;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_ID: u16 = 11;
const DIRECT_ACTION: u32 = 1;

impl Rtnl {
    /// Puts programs at what comes in by a link and at what goes out, or in the place of those of an earlier call.
    pub fn hook(&mut self, index: u32, ingress: &impl AsFd, egress: &impl AsFd) -> io::Result<()> {
        let header = |handle: u32, parent: u32, info: u32| {
            let mut header = [0; 20];
            header[4..8].copy_from_slice(&index.to_ne_bytes());
            header[8..12].copy_from_slice(&handle.to_ne_bytes());
            header[12..16].copy_from_slice(&parent.to_ne_bytes());
            header[16..].copy_from_slice(&info.to_ne_bytes());
            header
        };
        let mut message =
            Message::new(libc::RTM_NEWQDISC, CREATE | EXCL, &header(CLSACT << 16, CLSACT_PARENT, 0));
        message.text(TCA_KIND, "clsact");
        there(self.0.request(message))?;
        let every = FILTER_PRIORITY << 16 | u32::from((libc::ETH_P_ALL as u16).to_be());
        for (parent, program) in [(CLSACT_INGRESS, ingress.as_fd()), (CLSACT_EGRESS, egress.as_fd())] {
            let mut message =
                Message::new(libc::RTM_NEWTFILTER, CREATE | REPLACE, &header(FILTER, parent, every));
            message.text(TCA_KIND, "bpf").nest(TCA_OPTIONS, |options| {
                options.u32(TCA_BPF_FD, program.as_raw_fd() as u32);
                options.text(TCA_BPF_NAME, "nube").u32(TCA_BPF_FLAGS, DIRECT_ACTION);
            });
            self.0.request(message)?;
        }
        Ok(())
    }

    /// The number of the program at what comes in by a link.
    pub fn hooked(&mut self, index: u32) -> io::Result<Option<u32>> {
        let mut header = [0; 20];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        header[12..16].copy_from_slice(&CLSACT_INGRESS.to_ne_bytes());
        let found = self.0.dump(Message::new(libc::RTM_GETTFILTER, 0, &header))?;
        let number = |payload: &Vec<u8>| {
            let options = attr(payload.get(20..)?, TCA_OPTIONS)?;
            attr(options, TCA_BPF_ID).map(as_u32)
        };
        Ok(found.iter().find_map(number))
    }
}
