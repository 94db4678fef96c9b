//! Chains of proxies, honest and not.

use proptest::prelude::*;

use super::*;

const TRUSTED: [&str; 3] = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"];

/// Where a request comes from whose peer is this address.
fn origin(peer: &str, pairs: &[(&'static str, &str)]) -> Origin {
    let trusted = TRUSTED.map(|range| range.parse().unwrap());
    let peer = SocketAddr::new(peer.parse().unwrap(), 5000);
    let peer = Peer::new(peer, "127.0.0.1:1212".parse().unwrap(), false, &trusted);
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::try_from(*value).unwrap());
    }
    Origin::of(&peer, &trusted, &headers)
}

#[test]
fn a_stranger_is_the_client_whatever_it_says() {
    let seen = origin("192.0.2.1", &[("x-forwarded-for", "6.6.6.6"), ("x-forwarded-proto", "https")]);
    assert_eq!((seen.text, seen.is_https, seen.port), ("192.0.2.1".parse().unwrap(), false, 1212.into()));
    assert_eq!(seen.path, "192.0.2.1");
    let seen = origin("::ffff:192.0.2.1", &[("forwarded", "for=6.6.6.6")]);
    assert_eq!(seen.client, "192.0.2.1".parse::<IpAddr>().unwrap());
}

#[test]
fn the_client_is_the_last_address_that_is_not_trusted() {
    for (name, value, client, path) in [
        ("x-forwarded-for", "192.0.2.1", "192.0.2.1", "192.0.2.1, 127.0.0.1"),
        ("x-forwarded-for", "6.6.6.6, 192.0.2.1", "192.0.2.1", "192.0.2.1, 127.0.0.1"),
        ("x-forwarded-for", "6.6.6.6,192.0.2.1 , 10.1.1.1", "192.0.2.1", "192.0.2.1, 10.1.1.1, 127.0.0.1"),
        ("x-forwarded-for", "10.0.0.2, 10.0.0.1", "10.0.0.2", "10.0.0.2, 10.0.0.1, 127.0.0.1"),
        ("x-forwarded-for", "192.0.2.1:5000", "192.0.2.1", "192.0.2.1, 127.0.0.1"),
        ("x-forwarded-for", "[2001:db8::1]:80", "2001:db8::1", "2001:db8::1, 127.0.0.1"),
        ("x-forwarded-for", "2001:db8::1", "2001:db8::1", "2001:db8::1, 127.0.0.1"),
        ("x-forwarded-for", "::ffff:192.0.2.1", "192.0.2.1", "192.0.2.1, 127.0.0.1"),
        ("x-forwarded-for", "6.6.6.6, unknown", "127.0.0.1", "127.0.0.1"),
        ("x-forwarded-for", "6.6.6.6, <script>, 10.0.0.1", "10.0.0.1", "10.0.0.1, 127.0.0.1"),
        ("x-forwarded-for", "", "127.0.0.1", "127.0.0.1"),
        ("forwarded", "for=192.0.2.1;proto=https", "192.0.2.1", "192.0.2.1, 127.0.0.1"),
        ("forwarded", "for=6.6.6.6, For=\"[2001:db8::1]:80\"", "2001:db8::1", "2001:db8::1, 127.0.0.1"),
        ("forwarded", "for=\"x, for=192.0.2.1", "192.0.2.1", "192.0.2.1, 127.0.0.1"),
        ("forwarded", "for=192.0.2.1;by=\"a,b\"", "192.0.2.1", "192.0.2.1, 127.0.0.1"),
        ("forwarded", "for=192.0.2.1;by=\"a\\\",b\"", "192.0.2.1", "192.0.2.1, 127.0.0.1"),
        ("forwarded", "for=6.6.6.6, for=_hidden", "127.0.0.1", "127.0.0.1"),
        ("forwarded", "for=6.6.6.6, proto=https", "127.0.0.1", "127.0.0.1"),
    ] {
        let seen = origin("127.0.0.1", &[(name, value)]);
        assert_eq!(
            (seen.client.to_string().as_str(), seen.path.to_str().unwrap()),
            (client, path),
            "{value}"
        );
    }
    let lines = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.1")];
    assert_eq!(origin("10.0.0.9", &lines).path, "192.0.2.1, 10.0.0.9");
}

#[test]
fn the_words_of_one_kind_count_and_no_client_chooses_which() {
    let both = [("x-forwarded-for", "192.0.2.1"), ("forwarded", "for=6.6.6.6;proto=https")];
    let seen = origin("127.0.0.1", &both);
    assert_eq!((seen.client.to_string().as_str(), seen.is_https), ("192.0.2.1", false));
    let seen =
        origin("127.0.0.1", &[("x-forwarded-proto", "http"), ("forwarded", "for=6.6.6.6;proto=https")]);
    assert_eq!((seen.client.to_string().as_str(), seen.is_https), ("127.0.0.1", false));
}

#[test]
fn https_is_what_one_trusted_word_says() {
    for (pairs, is_https, port) in [
        (&[("x-forwarded-proto", "HTTPS")][..], true, "443"),
        (&[("x-forwarded-proto", "https"), ("x-forwarded-port", "8443")], true, "8443"),
        (&[("x-forwarded-proto", "https"), ("x-forwarded-proto", "http")], false, "1212"),
        (&[("x-forwarded-proto", "https, http")], false, "1212"),
        (&[("x-forwarded-proto", "https"), ("x-forwarded-port", "80a")], true, "443"),
        (&[("forwarded", "for=192.0.2.1;proto=https")], true, "443"),
        // The one that stands by the client, not what the client wrote.
        (&[("forwarded", "for=6.6.6.6;proto=https, for=192.0.2.1;proto=http")], false, "1212"),
        (&[("forwarded", "for=192.0.2.1;proto=https, for=10.0.0.1;proto=http")], true, "443"),
    ] {
        let seen = origin("127.0.0.1", pairs);
        assert_eq!((seen.is_https, seen.port.to_str().unwrap()), (is_https, port), "{pairs:?}");
    }
}

proptest! {
    /// What a client writes stands before what its proxy appends, in the same line or in one of its own.
    #[test]
    fn no_client_moves_its_own_address(written in "[ -~]{0,60}", is_own_line in any::<bool>(), is_x in any::<bool>()) {
        let (name, appended) = if is_x { ("x-forwarded-for", "192.0.2.1") } else { ("forwarded", "for=192.0.2.1") };
        let whole = format!("{written}, {appended}");
        let pairs = if is_own_line { vec![(name, &*written), (name, appended)] } else { vec![(name, &*whole)] };
        let seen = origin("127.0.0.1", &pairs);
        prop_assert_eq!(seen.client.to_string(), "192.0.2.1");
        prop_assert_eq!(seen.path, "192.0.2.1, 127.0.0.1");
    }

    #[test]
    fn no_words_of_a_stranger_count(written in "[ -~]{0,60}") {
        let pairs = ["x-forwarded-for", "forwarded", "x-forwarded-proto", "x-forwarded-port"].map(|name| (name, &*written));
        let seen = origin("192.0.2.1", &pairs);
        prop_assert_eq!((seen.client.to_string(), seen.is_https), ("192.0.2.1".to_owned(), false));
        prop_assert_eq!((seen.path, seen.port), ("192.0.2.1".parse().unwrap(), HeaderValue::from(1212_u16)));
    }
}
