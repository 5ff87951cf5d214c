// Podnet is the pod network of the test bed. It runs on every node and
//   - writes a CNI configuration (ptp + host-local) for the node's pod CIDR,
//   - routes the pod CIDRs of the other nodes to their addresses,
//   - source-NATs what pods send to addresses outside the pod network,
//   - enforces NetworkPolicies (IPv4) for the pods of its node.
//
// The nftables rules are written anew, as one transaction, after each change.
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	netlisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

const cniConfig = `{
  "cniVersion": "0.4.0",
  "name": "podnet",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "mtu": 1500,
      "ipam": {
        "type": "host-local",
        "dataDir": "/run/cni-ipam-state",
        "routes": [{"dst": "0.0.0.0/0"}],
        "ranges": [[{"subnet": %q}]]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`

type agent struct {
	nodeName   string
	podSubnet  string // of the whole cluster
	nodes      corelisters.NodeLister
	pods       corelisters.PodLister
	namespaces corelisters.NamespaceLister
	policies   netlisters.NetworkPolicyLister

	rules string // what was last loaded
}

func main() {
	config, err := rest.InClusterConfig()
	if err != nil {
		log.Fatal(err)
	}
	// The service address works only once kube-proxy does, so prefer the
	// control plane's own name.
	if endpoint := os.Getenv("CONTROL_PLANE_ENDPOINT"); endpoint != "" {
		config.Host = "https://" + endpoint
	}
	client := kubernetes.NewForConfigOrDie(config)

	factory := informers.NewSharedInformerFactory(client, 10*time.Minute)
	a := &agent{
		nodeName:   os.Getenv("NODE_NAME"),
		podSubnet:  os.Getenv("POD_SUBNET"),
		nodes:      factory.Core().V1().Nodes().Lister(),
		pods:       factory.Core().V1().Pods().Lister(),
		namespaces: factory.Core().V1().Namespaces().Lister(),
		policies:   factory.Networking().V1().NetworkPolicies().Lister(),
	}

	changed := make(chan struct{}, 1)
	signal := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { signal() },
		UpdateFunc: func(any, any) { signal() },
		DeleteFunc: func(any) { signal() },
	}
	for _, informer := range []cache.SharedIndexInformer{
		factory.Core().V1().Nodes().Informer(),
		factory.Core().V1().Pods().Informer(),
		factory.Core().V1().Namespaces().Informer(),
		factory.Networking().V1().NetworkPolicies().Informer(),
	} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			log.Fatal(err)
		}
	}
	factory.Start(context.Background().Done())
	factory.WaitForCacheSync(context.Background().Done())

	for range changed {
		if err := a.sync(); err != nil {
			log.Print(err)
			time.AfterFunc(time.Second, signal)
		}
		time.Sleep(100 * time.Millisecond) // gather what changes together
	}
}

func (a *agent) sync() error {
	nodes, err := a.nodes.List(labels.Everything())
	if err != nil {
		return err
	}
	for _, node := range nodes {
		if node.Spec.PodCIDR == "" {
			continue
		}
		if node.Name == a.nodeName {
			err = writeIfDifferent("/etc/cni/net.d/10-podnet.conflist",
				fmt.Sprintf(cniConfig, node.Spec.PodCIDR))
		} else {
			err = route(node)
		}
		if err != nil {
			return err
		}
	}
	rules, err := a.nftables()
	if err != nil || rules == a.rules {
		return err
	}
	nft := exec.Command("nft", "-f", "-")
	nft.Stdin = bytes.NewBufferString(rules)
	if out, err := nft.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s\n%s", err, out, rules)
	}
	a.rules = rules
	return nil
}

// route sends a node's pod CIDR to that node's address.
func route(node *corev1.Node) error {
	_, podCIDR, err := net.ParseCIDR(node.Spec.PodCIDR)
	if err != nil {
		return err
	}
	for _, address := range node.Status.Addresses {
		ip := net.ParseIP(address.Address).To4()
		if address.Type == corev1.NodeInternalIP && ip != nil {
			return netlink.RouteReplace(&netlink.Route{Dst: podCIDR, Gw: ip})
		}
	}
	return nil
}

func writeIfDifferent(path, text string) error {
	if old, err := os.ReadFile(path); err == nil && string(old) == text {
		return nil
	}
	temporary := filepath.Join(filepath.Dir(path), ".podnet.tmp")
	if err := os.WriteFile(temporary, []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
