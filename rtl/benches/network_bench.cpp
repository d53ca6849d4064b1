// network_bench: runs whole images on the accelerator, as fast as Verilator goes.
//
// usage: network_bench JOB
//
// JOB holds, as raw little-endian rows of whole bytes: program.bin, weights.bin, parameters.bin, pixels.bin, and
// sizes.txt: "name rows bytes" for each, then "images N", "cycle_limit N" and "every_node N". It writes, for each image i,
// walks<i>.bin (a record for each visit: program row as 4 bytes, then spikes, membranes, currents, accumulators) and
// counters<i>.bin (for each program row that ends: all counters so far, 8 bytes each).

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

namespace {

constexpr int kCounters = 32;

struct Rows {
    size_t count = 0;
    size_t bytes = 0;
    std::vector<uint8_t> data;
    const uint8_t* row(size_t index) const { return data.data() + index * bytes; }
};

[[noreturn]] void fail(const std::string& message) {
    std::cerr << "network_bench: " << message << "\n";
    std::exit(2);
}

template <typename Port>
void put(Port& port, const uint8_t* bytes, size_t count) {
    if (count > sizeof(port)) fail("a row is wider than its port");
    std::memset(&port, 0, sizeof(port));
    std::memcpy(&port, bytes, count);
}

template <typename Port>
void write(std::FILE* file, const Port& port) {
    std::fwrite(&port, sizeof(port), 1, file);
}

class Bench {
public:
    explicit Bench(const std::string& job) : job_(job), top_(new Vtop(&context_)) { read_sizes(); }

    void run() {
        reset();
        load();
        for (size_t image = 0; image < images_; ++image) run_image(image);
        top_->final();
    }

private:
    void read_sizes() {
        std::ifstream sizes(job_ + "/sizes.txt");
        std::string name;
        while (sizes >> name) {
            if (name == "images") sizes >> images_;
            else if (name == "cycle_limit") sizes >> cycle_limit_;
            else if (name == "every_node") sizes >> every_node_;
            else {
                Rows rows;
                sizes >> rows.count >> rows.bytes;
                rows.data.resize(rows.count * rows.bytes);
                std::ifstream file(job_ + "/" + name + ".bin", std::ios::binary);
                file.read(reinterpret_cast<char*>(rows.data.data()), static_cast<std::streamsize>(rows.data.size()));
                if (!file && !rows.data.empty()) fail("cannot read " + name + ".bin");
                rows_[name] = std::move(rows);
            }
        }
        if (images_ == 0 || cycle_limit_ == 0) fail("sizes.txt is not complete");
    }

    void tick() {
        top_->clock = 0;
        top_->eval();
        top_->clock = 1;
        top_->eval();
    }

    void reset() {
        top_->reset = 1;
        top_->count_node = every_node_;
        for (int cycle = 0; cycle < 4; ++cycle) tick();
        top_->reset = 0;
    }

    void load() {
        const Rows& program = rows_["program"];
        for (size_t row = 0; row < program.count; ++row) {
            top_->program_write_enable = 1;
            top_->program_write_address = row;
            put(top_->program_write_row, program.row(row), program.bytes);
            tick();
        }
        top_->program_write_enable = 0;
        const Rows& weights = rows_["weights"];
        for (size_t row = 0; row < weights.count; ++row) {
            top_->weight_write_enable = 1;
            top_->weight_write_address = row;
            put(top_->weight_write_row, weights.row(row), weights.bytes);
            tick();
        }
        top_->weight_write_enable = 0;
        const Rows& parameters = rows_["parameters"];
        for (size_t row = 0; row < parameters.count; ++row) {
            top_->parameter_write_enable = 1;
            top_->parameter_write_address = row;
            put(top_->parameter_write_row, parameters.row(row), parameters.bytes);
            tick();
        }
        top_->parameter_write_enable = 0;
    }

    void write_counters(std::FILE* file) {
        for (int counter = 0; counter < kCounters; ++counter) {
            top_->counter_select = counter;
            top_->eval();
            const uint64_t value = top_->counter_value;
            write(file, value);
        }
    }

    void run_image(size_t image) {
        const Rows& pixels = rows_["pixels"];
        const size_t positions = pixels.count / images_;
        std::FILE* walks = std::fopen((job_ + "/walks" + std::to_string(image) + ".bin").c_str(), "wb");
        std::FILE* counters = std::fopen((job_ + "/counters" + std::to_string(image) + ".bin").c_str(), "wb");
        if (walks == nullptr || counters == nullptr) fail("cannot write into " + job_);
        top_->start = 1;
        tick();
        top_->start = 0;
        size_t pixel = 0;
        uint32_t rows_done = 0;
        uint64_t cycle = 0;
        bool ended = false;
        top_->image_done = 0;
        for (; !ended && cycle < cycle_limit_; ++cycle) {
            top_->image_write_enable = pixel < positions;
            if (pixel < positions) {
                top_->image_write_address = pixel;
                put(top_->image_write_row, pixels.row(image * positions + pixel), pixels.bytes);
                ++pixel;
            } else {
                top_->image_done = 1;
            }
            top_->clock = 0;
            top_->eval();
            if (top_->walk_valid) {  // of the cycle before
                write(walks, rows_done);
                write(walks, top_->walk_spikes);
                write(walks, top_->walk_membranes);
                write(walks, top_->walk_currents);
                write(walks, top_->walk_accumulators);
            }
            if (top_->rows_done != rows_done) {
                rows_done = top_->rows_done;
                write_counters(counters);
            }
            ended = top_->ends;
            top_->clock = 1;
            top_->eval();
        }
        write_counters(counters);
        std::fclose(walks);
        std::fclose(counters);
        if (!ended) fail("image " + std::to_string(image) + " did not end within " + std::to_string(cycle_limit_) + " cycles, in program row " + std::to_string(rows_done));
    }

    std::string job_;
    VerilatedContext context_;
    std::unique_ptr<Vtop> top_;
    std::map<std::string, Rows> rows_;
    size_t images_ = 0;
    uint64_t cycle_limit_ = 0;
    uint32_t every_node_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) fail("give one folder");
    Bench(argv[1]).run();
    return 0;
}
