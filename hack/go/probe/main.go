// Probe is the workload of the NodePort check (see ../../nodeports).
//
//	probe serve                   answer on TCP and UDP port 8080 with "NODE CLIENT-ADDRESS"
//	probe ask tcp|udp ADDRESS     print what the address answers, within 3 seconds
package main

import (
	"fmt"
	"log"
	"net"
	"os"
	"time"
)

func main() {
	log.SetFlags(0)
	args := append(os.Args[1:], "", "", "")
	var err error
	switch args[0] {
	case "serve":
		err = serve(os.Getenv("NODE_NAME"))
	case "ask":
		err = ask(args[1], args[2])
	default:
		err = fmt.Errorf("usage: probe serve | ask tcp|udp ADDRESS")
	}
	if err != nil {
		log.Fatal(err)
	}
}

func answer(node string, client net.Addr) []byte {
	host, _, err := net.SplitHostPort(client.String())
	if err != nil {
		host = err.Error()
	}
	return fmt.Appendf(nil, "%s %s\n", node, host)
}

func serve(node string) error {
	packets, err := net.ListenPacket("udp", ":8080")
	if err != nil {
		return err
	}
	go serveUDP(packets, node)
	listener, err := net.Listen("tcp", ":8080")
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		if _, err := connection.Write(answer(node, connection.RemoteAddr())); err != nil {
			log.Print(err)
		}
		connection.Close()
	}
}

func serveUDP(packets net.PacketConn, node string) {
	buffer := make([]byte, 64)
	for {
		_, client, err := packets.ReadFrom(buffer)
		if err == nil {
			_, err = packets.WriteTo(answer(node, client), client)
		}
		if err != nil {
			log.Print(err)
		}
	}
}

func ask(network, address string) error {
	connection, err := net.DialTimeout(network, address, 3*time.Second)
	if err != nil {
		return err
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return err
	}
	if network == "udp" {
		if _, err := connection.Write([]byte("who am I?")); err != nil {
			return err
		}
	}
	buffer := make([]byte, 512)
	n, err := connection.Read(buffer)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(buffer[:n])
	return err
}
