// network_bench: runs whole images on the generated top through its AXI ports, as fast as Verilator goes.
//
// usage: network_bench JOB [TRACE FROM TO] [+PLUSARG...]
//
// JOB/job.txt has lines of a name and a value: images, positions, pixel_bytes, beat_bytes, logits, latency, resident,
// cycle_limit, outside (a file). JOB/pixels.bin holds the pixels as beats. For each image i it writes, little-endian:
//
//   walks<i>.bin    a record for each visit: program row, cycle (4 bytes each), spikes, membranes, currents, accumulators
//   writes<i>.bin   a record for each row that the elementwise unit writes: program row, cycle, address, word, currents
//   rows<i>.bin     for each row of the program that has ended: cycle (8 bytes), then all counters so far (6 bytes each)
//   answer<i>.json  what the logit stream and the registers said
//
// Cycles count from the first one after reset. With TRACE, a waveform of the cycles FROM to TO.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "Vtop.h"
#include "verilated.h"
#if VM_TRACE
#include "verilated_vcd_c.h"
#endif

namespace {

constexpr int kCounters = 32;
constexpr uint64_t kCounterLatency = 3;  // cycles by which performance_counters runs late
constexpr uint8_t kControl = 0x04, kStatus = 0x08, kCyclesLow = 0x0C, kCounterSelect = 0x14, kCounterLow = 0x18;
constexpr uint32_t kStart = 1, kLoad = 2, kIdle = 1;

using Bytes = std::vector<uint8_t>;

[[noreturn]] void fail(const std::string& message) {
    std::cerr << "network_bench: " << message << "\n";
    std::exit(2);
}

Bytes content(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) fail("cannot read " + path);
    return Bytes(std::istreambuf_iterator<char>(file), {});
}

template <typename Port>
void put(Port& port, const uint8_t* bytes, size_t count) {
    if (count > sizeof(port)) fail("a beat is wider than its port");
    std::memset(&port, 0, sizeof(port));
    std::memcpy(&port, bytes, count);
}

// A file of records of whole ports.
class Records {
public:
    explicit Records(const std::string& path) : file_(std::fopen(path.c_str(), "wb")) {
        if (file_ == nullptr) fail("cannot write " + path);
    }
    ~Records() {
        if (std::fclose(file_) != 0) fail("a file of records could not be written: is the disk full?");
    }
    Records(const Records&) = delete;
    Records& operator=(const Records&) = delete;

    template <typename... Values>
    void write(const Values&... values) {
        (std::fwrite(&values, sizeof(values), 1, file_), ...);
    }

private:
    std::FILE* file_;
};

// What an image leaves behind.
struct Watched {
    Watched(const std::string& job, size_t image)
        : walks(job + "/walks" + std::to_string(image) + ".bin"),
          writes(job + "/writes" + std::to_string(image) + ".bin"),
          rows(job + "/rows" + std::to_string(image) + ".bin") {}
    Records walks, writes, rows;
    std::vector<uint32_t> logits;
    uint32_t row = 0;
    uint32_t row_before = 0;
    uint64_t first_cycle = 0;
    bool begun = false, over = false, tlast = false;
    std::deque<uint64_t> ends;  // of rows whose last events are not counted yet
};

class Bench {
public:
    Bench(int argc, char** argv, std::string job, const char* trace, uint64_t from, uint64_t to)
        : job_(std::move(job)), top_(new Vtop(&context_)), from_(from), to_(to) {
        context_.commandArgs(argc, argv);
        std::ifstream lines(job_ + "/job.txt");
        std::string name;
        while (lines >> name) lines >> values_[name];
        pixels_ = content(job_ + "/pixels.bin");
        outside_ = content(values_["outside"]);
        positions_ = number("positions");
        pixel_bytes_ = number("pixel_bytes");
        beat_bytes_ = number("beat_bytes");
        latency_ = number("latency");
        logits_ = number("logits");
        limit_ = number("cycle_limit");
#if VM_TRACE
        if (trace != nullptr) {
            context_.traceEverOn(true);
            trace_ = std::make_unique<VerilatedVcdC>();
            top_->trace(trace_.get(), 99);
            trace_->open(trace);
        }
#else
        if (trace != nullptr) fail("this build has no waveforms");
#endif
    }

    void run() {
        top_->reset = 1;
        for (int count = 0; count < 4; ++count) cycle();
        top_->reset = 0;
        cycle_ = 0;
        if (number("resident") != 0) {
            write_register(kControl, kLoad);
            while ((read_register(kStatus) & kIdle) == 0) check_limit("the weights are not loaded");
        }
        for (uint64_t image = 0; image < number("images"); ++image) run_image(image);
        top_->final();
#if VM_TRACE
        if (trace_) trace_->close();
#endif
    }

private:
    uint64_t number(const std::string& name) {
        const auto found = values_.find(name);
        if (found == values_.end()) fail("job.txt does not say " + name);
        return std::stoull(found->second);
    }

    void check_limit(const std::string& message) {
        if (cycle_ > limit_) fail(message + " within " + std::to_string(limit_) + " cycles");
    }

    // ---- a clock cycle: inputs, what the outputs say, the edge
    void cycle() {
        drive();
        top_->clock = 0;
        top_->eval();
        dump(0);
        const bool pixel = top_->pixels_tvalid && top_->pixels_tready;
        const bool command = top_->fetch_tvalid && top_->fetch_tready;
        const bool beat = top_->data_tvalid && top_->data_tready;
        const uint64_t fetch = top_->fetch_tdata;
        if (watched_ != nullptr) watch();
        top_->clock = 1;
        top_->eval();
        dump(1);
        ++cycle_;
        if (pixel) ++next_pixel_;
        if (beat) ++next_beat_;
        if (wait_ > 0) --wait_;
        if (command) begin_transfer(fetch);
    }

    void drive() {
        top_->pixels_tvalid = next_pixel_ < positions_;
        if (next_pixel_ < positions_) {
            put(top_->pixels_tdata, &pixels_[(image_ * positions_ + next_pixel_) * pixel_bytes_], pixel_bytes_);
            top_->pixels_tlast = next_pixel_ + 1 == positions_;
        }
        top_->fetch_tready = next_beat_ == last_beat_;
        const bool valid = next_beat_ < last_beat_ && wait_ == 0;
        top_->data_tvalid = valid;
        if (valid) {
            put(top_->data_tdata, &outside_[next_beat_ * beat_bytes_], beat_bytes_);
            top_->data_tlast = next_beat_ + 1 == last_beat_;
        }
        top_->logits_tready = 1;
    }

    void begin_transfer(uint64_t fetch) {
        const uint64_t address = fetch & 0xFFFFFFFF, bytes = fetch >> 32;
        if (address + bytes > outside_.size() || address % beat_bytes_ || bytes % beat_bytes_ || bytes == 0)
            fail("a command for " + std::to_string(bytes) + " bytes from " + std::to_string(address) + " on");
        next_beat_ = address / beat_bytes_;
        last_beat_ = (address + bytes) / beat_bytes_;
        wait_ = latency_ > 0 ? latency_ - 1 : 0;
    }

    void watch() {
        Watched& seen = *watched_;
        if (top_->busy && !seen.begun) {
            seen.begun = true;
            seen.first_cycle = cycle_;
        }
        const auto cycle = static_cast<uint32_t>(cycle_);
        if (top_->walk_valid)  // of a visit two cycles before
            seen.walks.write(seen.row_before, cycle, top_->walk_spikes, top_->walk_membranes, top_->walk_currents,
                             top_->walk_accumulators);
        if (top_->word_write || top_->currents_write) {
            const auto address = static_cast<uint32_t>(top_->write_address);
            seen.writes.write(seen.row_before, cycle, address, top_->write_word, top_->write_currents);
        }
        seen.row_before = seen.row;
        if (seen.begun && !seen.over && (top_->rows_done != seen.row || !top_->busy)) {
            seen.over = !top_->busy;
            seen.row = top_->rows_done;
            seen.ends.push_back(cycle_);
        }
        if (!seen.ends.empty() && seen.ends.front() + kCounterLatency == cycle_) {
            seen.rows.write(seen.ends.front(), top_->counts);
            seen.ends.pop_front();
        }
        if (top_->logits_tvalid) {
            seen.logits.push_back(top_->logits_tdata);
            seen.tlast = top_->logits_tlast;
        }
    }

    void dump(int half) {
#if VM_TRACE
        if (trace_ && cycle_ >= from_ && cycle_ <= to_) trace_->dump(10 * cycle_ + 5 * half);
#else
        (void)half;
#endif
    }

    // ---- AXI4-Lite
    void write_register(uint8_t offset, uint32_t value) {
        top_->registers_awaddr = offset;
        top_->registers_wdata = value;
        top_->registers_wstrb = 0xF;
        top_->registers_awvalid = top_->registers_wvalid = top_->registers_bready = 1;
        cycle();
        top_->registers_awvalid = top_->registers_wvalid = 0;
        for (int count = 0; !top_->registers_bvalid; ++count) {
            if (count > 8) fail("a register write is not answered");
            cycle();
        }
        if (top_->registers_bresp != 0) fail("a register write is refused");
        cycle();
    }

    uint32_t read_register(uint8_t offset) {
        top_->registers_araddr = offset;
        top_->registers_arvalid = top_->registers_rready = 1;
        cycle();
        top_->registers_arvalid = 0;
        for (int count = 0; !top_->registers_rvalid; ++count) {
            if (count > 8) fail("a register read is not answered");
            cycle();
        }
        if (top_->registers_rresp != 0) fail("a register read is refused");
        const uint32_t value = top_->registers_rdata;
        cycle();
        return value;
    }

    uint64_t read_pair(uint8_t low) {
        const uint64_t bits = read_register(low);
        return bits | static_cast<uint64_t>(read_register(low + 4)) << 32;
    }

    void run_image(uint64_t image) {
        Watched seen(job_, image);
        image_ = image;
        next_pixel_ = 0;
        watched_ = &seen;
        write_register(kControl, kStart);
        const uint64_t begin = cycle_;
        while (seen.logits.size() < logits_ && cycle_ - begin < limit_) cycle();
        while (seen.begun && top_->busy == 0 && (read_register(kStatus) & kIdle) == 0 && cycle_ - begin < limit_) cycle();
        watched_ = nullptr;
        write_answer(image, seen);
    }

    void write_answer(uint64_t image, const Watched& seen) {
        std::ofstream file(job_ + "/answer" + std::to_string(image) + ".json");
        file << "{\"ended\": " << (seen.logits.size() == logits_ && seen.tlast ? "true" : "false")
             << ", \"first_cycle\": " << seen.first_cycle << ", \"program_row\": " << seen.row
             << ", \"status\": " << read_register(kStatus) << ", \"cycles\": " << read_pair(kCyclesLow) << ", \"logits\": [";
        for (size_t index = 0; index < seen.logits.size(); ++index)
            file << (index ? ", " : "") << static_cast<int32_t>(seen.logits[index]);
        file << "], \"counters\": [";
        for (int counter = 0; counter < kCounters; ++counter) {
            write_register(kCounterSelect, counter);
            file << (counter ? ", " : "") << read_pair(kCounterLow);
        }
        file << "]}\n";
    }

    std::string job_;
    VerilatedContext context_;
    std::unique_ptr<Vtop> top_;
#if VM_TRACE
    std::unique_ptr<VerilatedVcdC> trace_;
#endif
    std::map<std::string, std::string> values_;
    Bytes pixels_, outside_;
    uint64_t positions_ = 0, pixel_bytes_ = 0, beat_bytes_ = 0, latency_ = 0, logits_ = 0, limit_ = 0;
    uint64_t from_, to_;
    uint64_t cycle_ = 0;
    uint64_t image_ = 0, next_pixel_ = UINT64_MAX;
    uint64_t next_beat_ = 0, last_beat_ = 0, wait_ = 0;
    Watched* watched_ = nullptr;
};

}  // namespace

int main(int argc, char** argv) {
    const auto count = std::find_if(argv + 1, argv + argc, [](const char* text) { return *text == '+'; }) - argv;
    if (count != 2 && count != 5) fail("give a folder, and perhaps a trace file and two cycles");
    const bool traces = count == 5;
    const uint64_t from = traces ? std::stoull(argv[3]) : 0, to = traces ? std::stoull(argv[4]) : 0;
    Bench(argc, argv, argv[1], traces ? argv[2] : nullptr, from, to).run();
    return 0;
}
