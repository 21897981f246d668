// Command load sends a mix of requests to one process of the service and tells on stdout what became of them: a line when it begins,
// which is when every connection has been used once, and JSON at the end.
//
// It shares a machine with what it measures, so it does as little as can be: requests are put together beforehand but
// for a number, answers are read no further than their status and length.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const live = "GET /live HTTP/1.1\r\nHost: x\r\n\r\n"

// Slower than this is slow (the alert of the deployment guide).
const inTime = 2 * time.Second

// outcome is what a kind of request got. Latencies in microseconds, from when the request was due.
type outcome struct {
	Served  []int64        `json:"served"`
	Refused []int64        `json:"refused"`
	Late    int            `json:"late"`
	Failed  map[string]int `json:"failed"`
}

type outcomes map[string]*outcome

func newOutcomes() outcomes {
	made := outcomes{}
	for _, kind := range []string{"intake", "read", "export"} {
		made[kind] = &outcome{Served: []int64{}, Refused: []int64{}, Failed: map[string]int{}}
	}
	return made
}

func (all outcomes) add(other outcomes) {
	for kind, one := range other {
		all[kind].Served = append(all[kind].Served, one.Served...)
		all[kind].Refused = append(all[kind].Refused, one.Refused...)
		all[kind].Late += one.Late
		for why, count := range one.Failed {
			all[kind].Failed[why] += count
		}
	}
}

func (all outcomes) record(kind string, status int, taken time.Duration) {
	one := all[kind]
	switch {
	case status >= 200 && status < 300 && taken <= inTime:
		one.Served = append(one.Served, taken.Microseconds())
	case status >= 200 && status < 300:
		one.Late++
	case status == 503:
		one.Refused = append(one.Refused, taken.Microseconds())
	default:
		one.Failed[strconv.Itoa(status)]++
	}
}

// requests makes what is sent: the kinds of the mix in turn.
type requests struct {
	mix                           []string
	read, export, intakeHead, run string
}

func newRequests(mix []string, key, lead, run string) requests {
	head := "Host: x\r\nX-API-Key: " + key + "\r\n"
	return requests{
		mix:        mix,
		read:       "GET /api/leads/" + lead + "/timeline HTTP/1.1\r\n" + head + "\r\n",
		export:     "GET /api/leads?limit=50 HTTP/1.1\r\n" + head + "\r\n",
		intakeHead: "POST /api/leads HTTP/1.1\r\n" + head + "Content-Type: application/json\r\nContent-Length: ",
		run:        run,
	}
}

func (r requests) kind(number int) string { return r.mix[number%len(r.mix)] }

func (r requests) make(kind string, number int) string {
	switch kind {
	case "read":
		return r.read
	case "export":
		return r.export
	}
	body := fmt.Sprintf(`{"first_name":"Ana","email":"%s%d@example.org"}`, r.run, number)
	return r.intakeHead + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

// connection has at most one request on its way.
type connection struct {
	net.Conn
	reader *bufio.Reader
}

func dial(address string) (*connection, error) {
	opened, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	return &connection{opened, bufio.NewReader(opened)}, nil
}

// ask returns the status of the answer, 0 for a broken connection.
func (c *connection) ask(request string) int {
	if _, err := c.Write([]byte(request)); err != nil {
		return 0
	}
	line, err := c.reader.ReadString('\n')
	if err != nil || len(line) < 12 {
		return 0
	}
	status, err := strconv.Atoi(line[9:12])
	if err != nil {
		return 0
	}
	length, err := c.length()
	if err != nil {
		return 0
	}
	if _, err := c.reader.Discard(length); err != nil {
		return 0
	}
	return status
}

func (c *connection) length() (int, error) {
	found := -1
	for {
		line, err := c.reader.ReadString('\n')
		if err != nil {
			return 0, err
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		if name, value, ok := strings.Cut(line, ": "); ok && strings.EqualFold(name, "content-length") {
			if found, err = strconv.Atoi(value); err != nil {
				return 0, err
			}
		}
	}
	if found < 0 {
		return 0, errors.New("an answer without a length")
	}
	return found, nil
}

// job is one request that is due.
type job struct {
	number int
	due    time.Time
}

// crew is connections, each with a goroutine that asks what comes by its channel.
type crew struct {
	idle    chan chan job
	working sync.WaitGroup
	guard   sync.Mutex
	total   outcomes
	what    requests
}

func newCrew(address string, count int, what requests) (*crew, error) {
	made := &crew{idle: make(chan chan job, count), total: newOutcomes(), what: what}
	for range count {
		opened, err := dial(address)
		if err != nil {
			return nil, err
		}
		if status := opened.ask(live); status != 200 { // what a new connection costs is over before anything counts
			return nil, fmt.Errorf("/live answers %d", status)
		}
		made.working.Add(1)
		go made.work(opened)
	}
	return made, nil
}

func (c *crew) work(opened *connection) {
	defer c.working.Done()
	defer opened.Close()
	own, jobs := newOutcomes(), make(chan job, 1)
	c.idle <- jobs
	for next := range jobs {
		kind := c.what.kind(next.number)
		status := opened.ask(c.what.make(kind, next.number))
		own.record(kind, status, time.Since(next.due))
		if status == 0 {
			break
		}
		c.idle <- jobs
	}
	c.guard.Lock()
	defer c.guard.Unlock()
	c.total.add(own)
}

// end waits for what is on its way, for as long as it may still be late, and tells what became of everything.
func (c *crew) end(connections int) outcomes {
	late := time.After(inTime + time.Second)
	closed := 0
	for closed < connections {
		select {
		case jobs := <-c.idle:
			close(jobs)
			closed++
			continue
		case <-late:
		}
		break
	}
	if closed == connections {
		c.working.Wait()
	}
	c.guard.Lock()
	defer c.guard.Unlock()
	return c.total
}

// closedLoop lets every connection ask again as soon as it has its answer.
func (c *crew) closedLoop(seconds time.Duration) {
	end := time.After(seconds)
	for number := 0; ; number++ {
		select {
		case <-end:
			return
		case jobs := <-c.idle:
			jobs <- job{number, time.Now()}
		}
	}
}

// openLoop sends so many requests a second whatever comes back.
func (c *crew) openLoop(rate float64, seconds time.Duration) {
	began := time.Now()
	gap := time.Duration(float64(time.Second) / rate)
	for number := 0; ; number++ {
		due := began.Add(time.Duration(number) * gap)
		if due.Sub(began) >= seconds {
			return
		}
		time.Sleep(time.Until(due))
		select {
		case jobs := <-c.idle:
			jobs <- job{number, due}
		default:
			c.guard.Lock()
			c.total[c.what.kind(number)].Failed["no free connection"]++
			c.guard.Unlock()
		}
	}
}

// probed is the answers to /live, ten a second, and their latencies in microseconds.
type probed struct {
	Well  []int64 `json:"well"`
	Asked int     `json:"asked"`
}

func probe(opened *connection, stop <-chan struct{}) probed {
	defer opened.Close()
	found := probed{Well: []int64{}}
	for {
		began := time.Now()
		found.Asked++
		if opened.ask(live) == 200 {
			found.Well = append(found.Well, time.Since(began).Microseconds())
		}
		select {
		case <-stop:
			return found
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func run() error {
	address := flag.String("address", "", "host and port")
	key := flag.String("key", "", "the key to show")
	lead := flag.String("lead", "", "the id of the lead that is read")
	name := flag.String("run", "", "makes addresses that no other run has")
	mix := flag.String("mix", "intake", "what is asked in turn: intake, read, export, separated by commas")
	connections := flag.Int("connections", 32, "how many at once")
	rate := flag.Float64("rate", 0, "requests a second whatever comes back; 0: each connection asks when it is answered")
	seconds := flag.Duration("for", 10*time.Second, "how long")
	flag.Parse()

	probing, err := dial(*address)
	if err != nil {
		return err
	}
	crew, err := newCrew(*address, *connections, newRequests(strings.Split(*mix, ","), *key, *lead, *name))
	if err != nil {
		return err
	}
	fmt.Println("begin")
	stop, alive := make(chan struct{}), make(chan probed)
	go func() { alive <- probe(probing, stop) }()
	if *rate > 0 {
		crew.openLoop(*rate, *seconds)
	} else {
		crew.closedLoop(*seconds)
	}
	close(stop)
	told := map[string]any{"live": <-alive, "kinds": crew.end(*connections)}
	return json.NewEncoder(os.Stdout).Encode(told)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}
