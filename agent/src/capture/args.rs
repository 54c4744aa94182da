//! Flags of `weir-agent capture`, each with an env twin, and what they say.

use clap::builder::FalseyValueParser;
use weir_api::{
    CaptureSpec,
    capture::{
        CaptureValueError, flags, parse_cidrs, parse_ids, parse_interfaces, parse_ports,
        parse_selection,
    },
};

/// Redirects the connections of this network namespace to the sidecar, by iptables rules.
///
/// Run again it changes nothing, or replaces rules that differ. Lists are separated by commas.
/// Exit status: 0 in force and proven, 64 bad usage or configuration, 1 the machine cannot.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// redirect (default), or none to capture nothing.
    #[arg(long = flags::MODE, env = "WEIR_MODE", value_name = "MODE")]
    mode: Option<String>,
    /// Port outbound connections are sent to [default: 15001].
    #[arg(long = flags::OUTBOUND_PORT, env = "WEIR_OUTBOUND_PORT", value_name = "PORT")]
    outbound_port: Option<String>,
    /// Port inbound connections are sent to [default: 15006].
    #[arg(long = flags::INBOUND_PORT, env = "WEIR_INBOUND_PORT", value_name = "PORT")]
    inbound_port: Option<String>,
    /// Inbound port of the tunnel between sidecars, never captured [default: 15008].
    #[arg(long = flags::TUNNEL_PORT, env = "WEIR_TUNNEL_PORT", value_name = "PORT")]
    tunnel_port: Option<String>,
    /// Users whose connections are the sidecar's own [default: 1337].
    #[arg(long = flags::PROXY_UIDS, env = "WEIR_PROXY_UIDS", value_name = "IDS")]
    proxy_uids: Option<String>,
    /// Groups whose connections are the sidecar's own [default: 1337].
    #[arg(long = flags::PROXY_GIDS, env = "WEIR_PROXY_GIDS", value_name = "IDS")]
    proxy_gids: Option<String>,
    /// Destinations captured outbound, or * for all [default: *].
    #[arg(
        long = flags::INCLUDE_OUTBOUND_CIDRS,
        env = "WEIR_INCLUDE_OUTBOUND_CIDRS",
        value_name = "CIDRS"
    )]
    include_outbound_cidrs: Option<String>,
    /// Destinations left alone outbound.
    #[arg(
        long = flags::EXCLUDE_OUTBOUND_CIDRS,
        env = "WEIR_EXCLUDE_OUTBOUND_CIDRS",
        value_name = "CIDRS"
    )]
    exclude_outbound_cidrs: Option<String>,
    /// Ports captured outbound whatever the destination.
    #[arg(
        long = flags::INCLUDE_OUTBOUND_PORTS,
        env = "WEIR_INCLUDE_OUTBOUND_PORTS",
        value_name = "PORTS"
    )]
    include_outbound_ports: Option<String>,
    /// Ports left alone outbound.
    #[arg(
        long = flags::EXCLUDE_OUTBOUND_PORTS,
        env = "WEIR_EXCLUDE_OUTBOUND_PORTS",
        value_name = "PORTS"
    )]
    exclude_outbound_ports: Option<String>,
    /// Ports captured inbound, or * for all [default: *].
    #[arg(
        long = flags::INCLUDE_INBOUND_PORTS,
        env = "WEIR_INCLUDE_INBOUND_PORTS",
        value_name = "PORTS"
    )]
    include_inbound_ports: Option<String>,
    /// Ports left alone inbound where all are captured [default: 15090,15021,15020].
    #[arg(
        long = flags::EXCLUDE_INBOUND_PORTS,
        env = "WEIR_EXCLUDE_INBOUND_PORTS",
        value_name = "PORTS"
    )]
    exclude_inbound_ports: Option<String>,
    /// Interfaces whose packets are left alone.
    #[arg(long = flags::EXCLUDE_INTERFACES, env = "WEIR_EXCLUDE_INTERFACES", value_name = "NAMES")]
    exclude_interfaces: Option<String>,
    /// Print the text of both families and run nothing.
    #[arg(long, env = "WEIR_DRY_RUN", value_parser = FalseyValueParser::new())]
    pub(super) dry_run: bool,
    /// Remove the rules, whatever the other flags say.
    #[arg(long, env = "WEIR_CLEANUP", value_parser = FalseyValueParser::new())]
    pub(super) cleanup: bool,
    /// Go on in the machine's own network namespace, where the machine is the pod.
    #[arg(long, env = "WEIR_ALLOW_HOST_NETWORK", value_parser = FalseyValueParser::new())]
    pub(super) allow_host_network: bool,
}

/// Every flag that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n       "))]
pub(crate) struct FlagErrors(Vec<String>);

// === impl Args ===

impl Args {
    /// What the flags say; what they do not say is the default.
    pub(super) fn resolve(&self) -> Result<CaptureSpec, FlagErrors> {
        let mut spec = CaptureSpec::default();
        let mut reader = Reader(Vec::new());
        let cidrs = |text: &str| parse_selection(text, parse_cidrs);
        let ports = |text: &str| parse_selection(text, parse_ports);
        reader.read(flags::MODE, &self.mode, &mut spec.mode, str::parse);
        reader.read(
            flags::OUTBOUND_PORT,
            &self.outbound_port,
            &mut spec.outbound_port,
            port,
        );
        reader.read(
            flags::INBOUND_PORT,
            &self.inbound_port,
            &mut spec.inbound_port,
            port,
        );
        reader.read(
            flags::TUNNEL_PORT,
            &self.tunnel_port,
            &mut spec.tunnel_port,
            port,
        );
        reader.read(
            flags::PROXY_UIDS,
            &self.proxy_uids,
            &mut spec.proxy_uids,
            parse_ids,
        );
        reader.read(
            flags::PROXY_GIDS,
            &self.proxy_gids,
            &mut spec.proxy_gids,
            parse_ids,
        );
        reader.read(
            flags::INCLUDE_OUTBOUND_CIDRS,
            &self.include_outbound_cidrs,
            &mut spec.include_outbound_cidrs,
            cidrs,
        );
        reader.read(
            flags::EXCLUDE_OUTBOUND_CIDRS,
            &self.exclude_outbound_cidrs,
            &mut spec.exclude_outbound_cidrs,
            parse_cidrs,
        );
        reader.read(
            flags::INCLUDE_OUTBOUND_PORTS,
            &self.include_outbound_ports,
            &mut spec.include_outbound_ports,
            parse_ports,
        );
        reader.read(
            flags::EXCLUDE_OUTBOUND_PORTS,
            &self.exclude_outbound_ports,
            &mut spec.exclude_outbound_ports,
            parse_ports,
        );
        reader.read(
            flags::INCLUDE_INBOUND_PORTS,
            &self.include_inbound_ports,
            &mut spec.include_inbound_ports,
            ports,
        );
        reader.read(
            flags::EXCLUDE_INBOUND_PORTS,
            &self.exclude_inbound_ports,
            &mut spec.exclude_inbound_ports,
            parse_ports,
        );
        reader.read(
            flags::EXCLUDE_INTERFACES,
            &self.exclude_interfaces,
            &mut spec.exclude_interfaces,
            parse_interfaces,
        );
        if reader.0.is_empty() {
            Ok(spec)
        } else {
            Err(FlagErrors(reader.0))
        }
    }
}

fn port(text: &str) -> Result<u16, CaptureValueError> {
    match parse_ports(text)?.as_slice() {
        [port] => Ok(*port),
        _ => Err(CaptureValueError {
            value: text.to_owned(),
            expected: "one port from 1 to 65535",
        }),
    }
}

/// Collects what cannot be read, so that all of it is said at once.
struct Reader(Vec<String>);

// === impl Reader ===

impl Reader {
    fn read<T>(
        &mut self,
        flag: &str,
        text: &Option<String>,
        place: &mut T,
        parse: impl Fn(&str) -> Result<T, CaptureValueError>,
    ) {
        match text.as_deref().map(parse) {
            None => {}
            Some(Ok(value)) => *place = value,
            Some(Err(error)) => self.0.push(format!("--{flag} (or its env twin): {error}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};
    use weir_api::capture::{CaptureMode, Selection};

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn resolve(arguments: Vec<String>) -> CaptureSpec {
        let line = [vec!["capture".to_owned()], arguments].concat();
        Line::try_parse_from(line)
            .expect("flags")
            .args
            .resolve()
            .expect("values")
    }

    #[test]
    fn a_specification_written_as_flags_is_read_back() {
        let other = CaptureSpec {
            mode: CaptureMode::None,
            outbound_port: 1,
            inbound_port: 2,
            tunnel_port: 3,
            proxy_uids: vec![4, 5],
            proxy_gids: vec![],
            include_outbound_cidrs: Selection::Only(parse_cidrs("10.0.0.0/8").expect("cidr")),
            exclude_outbound_cidrs: parse_cidrs("10.1.0.0/16,fd00::/8").expect("cidrs"),
            include_outbound_ports: vec![6],
            exclude_outbound_ports: vec![7, 8],
            include_inbound_ports: Selection::Only(vec![]),
            exclude_inbound_ports: vec![9],
            exclude_interfaces: parse_interfaces("eth1").expect("interface"),
        };
        for spec in [CaptureSpec::default(), other] {
            assert_eq!(resolve(spec.to_args()), spec);
        }
        assert_eq!(resolve(vec![]), CaptureSpec::default());
    }

    #[test]
    fn every_flag_has_its_env_twin() {
        for argument in Line::command().get_arguments() {
            let flag = argument.get_long().expect("long");
            let twin = format!("WEIR_{}", flag.to_uppercase().replace('-', "_"));
            let found = argument.get_env().and_then(|name| name.to_str());
            assert_eq!(found, Some(twin.as_str()), "--{flag}");
        }
    }
}
