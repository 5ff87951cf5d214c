//! Tables of routes, and routers that answer, refuse, or keep silent.

use super::*;

const HEAD: &str =
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n";

fn number(ip: [u8; 4]) -> String {
    format!("{:08X}", u32::from_ne_bytes(ip))
}

fn line(destination: [u8; 4], gateway: [u8; 4], flags: &str, metric: u32, mask: [u8; 4]) -> String {
    let [destination, gateway, mask] = [destination, gateway, mask].map(number);
    format!("eth0\t{destination}\t{gateway}\t{flags}\t0\t0\t{metric}\t{mask}\t0\t0\t0\n")
}

#[test]
fn the_gateway_is_that_of_the_best_default_route() {
    let any = [0; 4];
    let slow = line(any, [10, 0, 0, 9], "0003", 600, any);
    let fast = line(any, [192, 168, 1, 1], "0003", 100, any);
    let own = line([192, 168, 1, 0], any, "0001", 50, [255, 255, 255, 0]);
    let far = line(
        [172, 16, 0, 0],
        [192, 168, 1, 7],
        "0003",
        0,
        [255, 240, 0, 0],
    );
    let direct = line(any, any, "0001", 0, any);
    let gateway = |lines: &[&String]| {
        let lines: String = lines.iter().map(|line| line.as_str()).collect();
        default_gateway(&format!("{HEAD}{lines}"))
    };
    let home = Some(Ipv4Addr::new(192, 168, 1, 1));
    assert_eq!(gateway(&[&slow, &own, &far, &fast, &direct]), home);
    assert_eq!(gateway(&[&own, &far, &direct]), None);
    for nonsense in ["", HEAD, "a b c", "\0", "eth0\t0\t0\t3\t0\t0\tx\t0"] {
        assert_eq!(default_gateway(nonsense), None, "{nonsense:?}");
    }
}

/// A router that hears questions and says this to each of them after `deaf` of them.
async fn router(says: Vec<u8>, deaf: usize) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 64];
        let mut heard = 0;
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            assert_eq!(buffer[..length], QUESTION);
            heard += 1;
            if heard > deaf {
                socket.send_to(&says, from).await.unwrap();
            }
        }
    });
    address
}

async fn asked(router: SocketAddr) -> Option<Ipv4Addr> {
    ask(&connect(router).await.unwrap()).await
}

#[tokio::test]
async fn a_router_that_answers_is_heard_also_the_second_time() {
    let says = vec![0, 128, 0, 0, 0, 0, 0, 9, 100, 64, 7, 2];
    let told = Some(Ipv4Addr::new(100, 64, 7, 2));
    for deaf in [0, 1] {
        assert_eq!(asked(router(says.clone(), deaf).await).await, told);
    }
}

#[tokio::test]
async fn a_router_that_refuses_or_is_not_there_says_nothing() {
    let refused = vec![0, 128, 0, 3, 0, 0, 0, 9, 0, 0, 0, 0];
    let other = vec![2, 128, 0, 1];
    let long = vec![0, 128, 0, 0, 0, 0, 0, 9, 100, 64, 7, 2, 0];
    for says in [refused, other, long, Vec::new()] {
        assert_eq!(asked(router(says, 0).await).await, None);
    }
    let gone = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    assert_eq!(asked(address).await, None);
}
